"""Which stages there are."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pipeline.config import OwnStage, Settings, StageSettings, StagesSettings
from pipeline.model.errors import UsageError
from pipeline.stages.checks.encoders import Encoder, MiniLm
from pipeline.stages.code import Code
from pipeline.stages.documents import Documents
from pipeline.stages.images import Images
from pipeline.stages.invoices import Invoices
from pipeline.stages.requests import Requests
from pipeline.stages.stage import Stage
from pipeline.stages.texts import Texts
from pipeline.stages.tickets import Tickets


def build_stages(
    settings: StagesSettings, encoder: Encoder | None = None
) -> Mapping[str, Stage[Any, Any]]:
    """Build every stage, by name, whether it is enabled or not.

    Args:
        settings: Of all stages.
        encoder: Compares texts with the examples of labels. Without it words do: enough for
            whoever has no answers checked.

    Raises:
        UsageError: A stage of one's own is none.
    """
    stages: list[Stage[Any, Any]] = [
        Tickets(settings.tickets, encoder),
        Invoices(settings.invoices),
        Images(settings.images),
        Documents(settings.documents),
        Requests(settings.requests, encoder),
        Code(settings.code),
        Texts(settings.texts, encoder),
    ]
    tables = settings.by_name()
    stages += [_built(stage, tables[stage.name]) for stage in settings.own.values()]
    return MappingProxyType({stage.name: stage for stage in stages})


def stage_named(settings: StagesSettings, name: str) -> Stage[Any, Any]:
    """The stage of that name, with its comparisons by words.

    Raises:
        UsageError: There is none, or a stage of one's own is none.
    """
    stages = build_stages(settings)
    if name not in stages:
        raise UsageError(f"There is no stage {name!r}; there are {', '.join(stages)}.")
    return stages[name]


def encoder_for(settings: Settings) -> Encoder | None:
    """The sentence encoder, where it is set to be used.

    Raises:
        UsageError: It is not installed.
    """
    return MiniLm() if settings.escalation.scope == "encoder" else None


def _built(own: OwnStage, settings: StageSettings) -> Stage[Any, Any]:
    stage: Stage[Any, Any] = own.build(settings)
    if missing := [member for member in _MEMBERS if not hasattr(stage, member)]:
        raise UsageError(
            f"The stage {own.origin} lacks {', '.join(missing)}: see docs/STAGES.md for what a "
            "stage has."
        )
    return stage


_MEMBERS = (
    "name", "raw_model", "result_model", "reads_files", "parse", "question", "signals", "result",
)  # fmt: skip
