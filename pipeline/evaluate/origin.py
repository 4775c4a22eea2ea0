"""Who really answered: a model, a recording of one, or a stand-in.

An earlier evaluation: whether what it calibrated still holds, and what has changed since.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from pipeline.evaluate.recording import Counts, Fingerprint
from pipeline.model.errors import UsageError
from pipeline.model.records import is_simulated


@dataclass(frozen=True, slots=True)
class Origin:
    """What stands on every page.

    Args:
        word: `live`, `recorded` or `stand-in`.
        sentence: The same for a reader who does not know the words.
        asked: Answers that were asked for in this run.
        recorded: Answers that an earlier run had asked for.
        models: That answered, as they name themselves.
    """

    word: str
    sentence: str
    asked: int
    recorded: int
    models: tuple[str, ...]


def origin_of(models: Iterable[str], counts: Counts) -> Origin:
    """Say where answers came from; one stand-in among the models makes all of it one."""
    named = tuple(sorted(set(models)))
    came = f"{counts.asked:,} answers were asked for now, {counts.recorded:,} were on record."
    if any(is_simulated(model) for model in named):
        word = "stand-in"
        sentence = (
            "A simulated API answered by local rules, not a model: these figures say nothing "
            f"about how accurate Haiku or Sonnet are. {came}"
        )
    elif counts.asked:
        word, sentence = "live", f"Answered by {' and '.join(named)}. {came}"
    else:
        word, sentence = "recorded", f"Answered by {' and '.join(named)} in an earlier run. {came}"
    return Origin(word, sentence, counts.asked, counts.recorded, named)


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
        UsageError: It is none.
    """
    try:
        document = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise UsageError(f"{path} cannot be read ({error}): name an evaluation's file.") from error
    if not isinstance(document, dict) or not isinstance(document.get("fingerprint"), dict):
        raise UsageError(f"{path} is not the JSON file of an evaluation.")
    return document


def baseline(file: str, earlier: Mapping[str, Any], now: Fingerprint) -> Baseline:
    """Compare with an earlier evaluation."""
    rows = earlier.get("ways") or []
    accuracy = next((row["accuracy"] for row in rows if row.get("way") == "Cascade"), 0.0)
    changed = tuple(now.changed_since(earlier["fingerprint"]))
    return Baseline(file, str(earlier.get("at", "")), changed, accuracy)
