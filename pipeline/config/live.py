"""Settings that change while a process runs: noticing that they did, and which may.

What decides about answers may: labels, fields, thresholds and the like, of the stages that are
there. Topics, brokers, models, limits and budgets are built into the process, so that they are
taken up when it starts again; nothing is taken up of a change that has one of them.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.config.settings import Settings, files_of_settings
from pipeline.model.errors import UsageError

LOOK_SECONDS = 2.0
_BUILT_IN = frozenset(
    {
        "budget_usd_per_day", "budget_usd_per_hour", "events_per_request", "input", "kind",
        "ordering", "output",
    }
)  # fmt: skip
"""Of a stage's settings."""
_NAMED = 10
SettingsChanges = AsyncIterator[Settings | UsageError]
"""The settings each time that they changed, or why they are none."""


def check_live(before: Settings, after: Settings) -> None:
    """Refuse a change that has something in it that a running process cannot take up.

    Raises:
        UsageError: It names what that is.
    """
    old, new = dict(_built_in(before)), dict(_built_in(after))
    changed = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    if changed:
        more = f" and {len(changed) - _NAMED} more" if len(changed) > _NAMED else ""
        raise UsageError(
            f"{', '.join(changed[:_NAMED])}{more} changed, which is taken up when the process "
            "starts again; until then it goes on with the settings that it has."
        )


def _built_in(settings: Settings) -> Iterator[tuple[str, object]]:
    """What must stay as it is, by name: whole tables, but of the stages each setting."""
    tables = settings.model_dump(mode="json", exclude={"thresholds", "stages", "escalation"})
    yield from tables.items()
    yield "escalation", settings.escalation.model_dump(exclude={"second_opinion"})
    for name, stage in settings.stages.by_name().items():
        own: Mapping[str, Any] = stage.model_dump(mode="json", include=set(_BUILT_IN))
        yield from ((f"stages.{name}.{setting}", value) for setting, value in own.items())
        yield f"stages.{name}", type(stage).__qualname__


async def settings_changes(
    settings: Settings,
    load: Callable[[], Settings],
    *,
    wait: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> SettingsChanges:
    """Yield the settings, for ever, whenever a file of theirs or one that they name is another.

    By looking every few seconds: that sees a file that was mounted or linked in its place, too.
    `settings` are those that were read last.
    """
    seen = _state(_files(settings))
    while True:
        await wait(LOOK_SECONDS)
        now = _state(_files(settings))
        if now == seen:
            continue
        seen = now
        try:
            settings = await asyncio.to_thread(load)
        except UsageError as error:
            yield error
        else:
            yield settings


def _files(settings: Settings) -> list[Path]:
    stages = settings.stages.by_name().values()
    scores = [stage.score for stage in stages if stage.score is not None]
    return [*files_of_settings(), *scores]


def _state(files: list[Path]) -> list[tuple[Path, int, int, int]]:
    found = []
    for file in files:
        try:
            state = file.stat()
        except OSError:
            continue
        found.append((file, state.st_ino, state.st_size, state.st_mtime_ns))
    return found
