"""From settings that were tried beside those in force to settings in force, and back.

A candidate is a file with settings of one stage, in the form of `pipeline.toml`. Promoted it
becomes `promoted/STAGE.toml`, which running processes take up; what was there before is kept
beside it, so that one step back is always possible.
"""

from collections.abc import Sequence
from pathlib import Path

from pipeline.cascade.policy import settings_digest
from pipeline.config import Settings, load_settings
from pipeline.config.live import check_live
from pipeline.config.settings import PROMOTED, files_of_settings
from pipeline.model.errors import UsageError
from pipeline.operators.files import usable

_BEFORE = ".before"


def candidate_settings(stage: str, file: Path) -> Settings:
    """The settings that would be in force if a candidate were promoted.

    Raises:
        UsageError: It cannot be read, or decides about other stages as well.
    """
    with usable(file, "read", otherwise="name a file of settings of the stage."):
        file.read_bytes()
    in_force = load_settings()
    others = [each for each in files_of_settings() if each != _place(stage)]
    candidate = load_settings([*others, file])
    names = in_force.stages.by_name()
    if stage not in names:
        raise UsageError(f"There is no stage {stage!r}; there are {', '.join(names)}.")
    touched = [
        name
        for name in names
        if name != stage and settings_digest(in_force, name) != settings_digest(candidate, name)
    ]
    if touched:
        raise UsageError(
            f"{file} decides about {', '.join(touched)}, too: settings of a candidate are those of "
            f"one stage, below stages.{stage}, thresholds.stages.{stage} and "
            f"escalation.second_opinion.{stage}. What is of all stages belongs into pipeline.toml."
        )
    return candidate


def promote(stage: str, candidate: Path) -> Sequence[str]:
    """Put a candidate in force; returns what is taken up only when processes start again.

    Raises:
        UsageError: It cannot be read or written, or decides about other stages.
    """
    in_force, settings = load_settings(), candidate_settings(stage, candidate)
    place, later = _place(stage), []
    try:
        check_live(in_force, settings)
    except UsageError as error:
        later.append(str(error))
    content = candidate.read_bytes()
    with usable(place, "written", otherwise="promote where the settings can be written."):
        PROMOTED.mkdir(exist_ok=True)
        earlier = place.read_bytes() if place.exists() else b""
        _write(_earlier(stage), earlier)
        _write(place, content)
    return later


def check_rollback(stage: str) -> None:
    """Raise `UsageError` where there is nothing to go back to."""
    if not _earlier(stage).exists():
        raise UsageError(f"There is nothing to go back to: no promotion of {stage} is known here.")


def rollback(stage: str) -> None:
    """Put in force what was before the last promotion.

    Raises:
        UsageError: Nothing was promoted, or the files cannot be written.
    """
    check_rollback(stage)
    place, before = _place(stage), _earlier(stage)
    with usable(place, "written", otherwise="roll back where the settings can be written."):
        content = before.read_bytes()
        if content:
            _write(place, content)
        else:
            place.unlink(missing_ok=True)
        before.unlink()


def _place(stage: str) -> Path:
    return PROMOTED / f"{stage}.toml"


def _earlier(stage: str) -> Path:
    return PROMOTED / f"{stage}.toml{_BEFORE}"


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all: a process may read it at any time."""
    new = path.with_name(f".{path.name}.new")
    new.write_bytes(content)
    new.replace(path)
