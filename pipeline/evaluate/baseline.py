"""An earlier evaluation: whether what it calibrated still holds, and what has changed since."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from pipeline.errors import WrongUse
from pipeline.evaluate.fingerprint import Fingerprint


@dataclass(frozen=True, slots=True)
class Baseline:
    """What an earlier evaluation says, beside the present one.

    Args:
        file: Its name.
        at: When it was made.
        changed: What is not as it was, in words; empty where its thresholds still hold.
        accuracy: Of its cascade.
    """

    file: str
    at: str
    changed: tuple[str, ...]
    accuracy: float

    @property
    def warning(self) -> str | None:
        """What a reader must be told, or None."""
        if not self.changed:
            return None
        return (
            f"The calibration in {self.file} is stale: {', '.join(self.changed)} changed since. "
            "Thresholds that it proposed hold no longer; take those of this evaluation."
        )


def read_earlier(path: Path) -> Mapping[str, Any]:
    """Read the JSON file of an evaluation.

    Raises:
        WrongUse: It is none.
    """
    try:
        document = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise WrongUse(f"{path} cannot be read ({error}): name an evaluation's file.") from error
    if not isinstance(document, dict) or not isinstance(document.get("fingerprint"), dict):
        raise WrongUse(f"{path} is not the JSON file of an evaluation.")
    return document


def baseline(file: str, earlier: Mapping[str, Any], now: Fingerprint) -> Baseline:
    """Compare with an earlier evaluation."""
    rows = earlier.get("ways") or []
    accuracy = next((row["accuracy"] for row in rows if row.get("way") == "Cascade"), 0.0)
    changed = tuple(now.changed_since(earlier["fingerprint"]))
    return Baseline(file, str(earlier.get("at", "")), changed, accuracy)
