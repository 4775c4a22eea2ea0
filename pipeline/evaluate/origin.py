"""Who really answered: a model, a recording of one, or a stand-in."""

from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.evaluate.recording import Counts
from pipeline.events import is_simulated


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
