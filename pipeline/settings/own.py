"""Stages of one's own: found by an entry point, or named in the settings, before these are read.

A stage is a class with a `name`, a `settings_model`, and the methods of
`pipeline.stages.stage.Stage`; docs/STAGES.md shows one. Its table of the settings,
`[stages.<name>]`, is held to its own model like any other.
"""

import importlib
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from pipeline.errors import WrongUse
from pipeline.settings.stage import StageSettings

GROUP = "haiku_pipeline.stages"
"""The entry points of installed packages that are looked for."""

_NAME = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")
_REFERENCE = re.compile(r"[\w.]+:\w+")
_TAKEN = frozenset({"escalations", "review", "all"})
"""A stage of its own, a topic, and the metrics' word for the sum of all stages."""


@dataclass(frozen=True, slots=True)
class OwnStage:
    """A stage that does not come with the pipeline.

    Args:
        name: Of its topics, settings and metrics.
        settings_model: What `[stages.<name>]` may hold.
        build: Makes the stage of its settings.
        origin: Where it was found, for error messages.
    """

    name: str
    settings_model: type[StageSettings]
    build: Callable[[Any], Any]
    origin: str


def find_stages(references: Sequence[str]) -> tuple[OwnStage, ...]:
    """Import the stages that are named, and those of installed packages.

    Args:
        references: `package.module:Class`; the current folder is searched last.

    Raises:
        WrongUse: One of them cannot be imported, is no stage, or has another's name.
    """
    if references and (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)
    found: dict[str, OwnStage] = {}
    for origin, load in (*_named(references), *_installed()):
        stage = _checked(origin, load)
        known = found.get(stage.name)
        if known is not None and known.build is not stage.build:
            raise WrongUse(
                f"There are two stages {stage.name!r}, {known.origin} and {origin}: rename one."
            )
        found.setdefault(stage.name, stage)
    return tuple(found.values())


def _named(references: Sequence[str]) -> Iterator[tuple[str, Callable[[], Any]]]:
    for reference in references:
        if not _REFERENCE.fullmatch(reference):
            raise WrongUse(
                f"stage_modules: {reference!r} is no stage: write it as 'package.module:Class'."
            )
        entry = EntryPoint(name=reference, value=reference, group=GROUP)
        yield reference, entry.load


def _installed() -> Iterator[tuple[str, Callable[[], Any]]]:
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: (entry.name, entry.value)):
        package = f" of {entry.dist.name} {entry.dist.version}" if entry.dist else ""
        yield f"{entry.value}{package}", entry.load


def _checked(origin: str, load: Callable[[], Any]) -> OwnStage:
    importlib.invalidate_caches()
    try:
        stage = load()
    except Exception as error:
        raise WrongUse(
            f"The stage {origin} cannot be imported ({type(error).__name__}: {error}): "
            "mend it, or do not name or install it."
        ) from error
    name, model = getattr(stage, "name", None), getattr(stage, "settings_model", None)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise WrongUse(
            f"The stage {origin} needs a `name` of lower-case letters, digits and single "
            f"underscores, not {name!r}."
        )
    if not isinstance(model, type) or not issubclass(model, StageSettings):
        raise WrongUse(f"The stage {origin} needs a `settings_model` that extends StageSettings.")
    if name in _TAKEN or hasattr(BaseModel, name):
        raise WrongUse(f"The stage {origin} cannot be called {name!r}: choose another name.")
    return OwnStage(name, model, stage, origin)
