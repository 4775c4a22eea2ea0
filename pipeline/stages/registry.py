"""Which stages there are."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pipeline.settings import StagesSettings
from pipeline.stages.code import Code
from pipeline.stages.documents import Documents
from pipeline.stages.images import Images
from pipeline.stages.invoices import Invoices
from pipeline.stages.requests import Requests
from pipeline.stages.stage import Stage
from pipeline.stages.texts import Texts
from pipeline.stages.tickets import Tickets


def build_stages(settings: StagesSettings) -> Mapping[str, Stage[Any, Any]]:
    """Build every stage, by name, whether it is enabled or not."""
    stages: tuple[Stage[Any, Any], ...] = (
        Tickets(settings.tickets),
        Invoices(settings.invoices),
        Images(settings.images),
        Documents(settings.documents),
        Requests(settings.requests),
        Code(settings.code),
        Texts(settings.texts),
    )
    return MappingProxyType({stage.name: stage for stage in stages})
