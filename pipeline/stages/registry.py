"""Which stages there are."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pipeline.errors import WrongUse
from pipeline.settings import OwnStage, StageSettings, StagesSettings
from pipeline.stages.code import Code
from pipeline.stages.documents import Documents
from pipeline.stages.images import Images
from pipeline.stages.invoices import Invoices
from pipeline.stages.requests import Requests
from pipeline.stages.stage import Stage
from pipeline.stages.texts import Texts
from pipeline.stages.tickets import Tickets


def build_stages(settings: StagesSettings) -> Mapping[str, Stage[Any, Any]]:
    """Build every stage, by name, whether it is enabled or not.

    Raises:
        WrongUse: A stage of one's own is none.
    """
    stages: list[Stage[Any, Any]] = [
        Tickets(settings.tickets),
        Invoices(settings.invoices),
        Images(settings.images),
        Documents(settings.documents),
        Requests(settings.requests),
        Code(settings.code),
        Texts(settings.texts),
    ]
    tables = settings.by_name()
    stages += [_built(stage, tables[stage.name]) for stage in settings.own.values()]
    return MappingProxyType({stage.name: stage for stage in stages})


def _built(own: OwnStage, settings: StageSettings) -> Stage[Any, Any]:
    stage: Stage[Any, Any] = own.build(settings)
    if missing := [member for member in _MEMBERS if not hasattr(stage, member)]:
        raise WrongUse(
            f"The stage {own.origin} lacks {', '.join(missing)}: see docs/STAGES.md for what a "
            "stage has."
        )
    return stage


_MEMBERS = (
    "name", "raw_model", "result_model", "reads_files", "parse", "question", "signals", "result",
)  # fmt: skip
