"""A model as a judge of two answers, which says something only as far as it agrees with people.

Each pair is asked about in both orders, since models favour what comes first: a judge that changes
its mind with the order has none, which counts as a tie.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.model.errors import AnswerError, UsageError
from pipeline.model.questions import Asker, Question, Text
from pipeline.model.records import Tier, Usage
from pipeline.stages.fields.asking import Answer, Section, question_for
from pipeline.trust.agreement import Agreement, Choice, agreement

STAGE = "judge"
"""Under which name is asked where no stage is named."""
RUBRIC = """\
In this order: first that nothing is said that the source does not hold; then that nothing is \
missing that a reader of the source would have to know; then that it is plain and short. Length, \
politeness and formatting are no merits. Who wrote an answer does not matter."""
_ROLE = """\
You compare two answers that were made from the same source, for people who decide which of two \
ways of making them to keep."""
_FIELDS = """\
- `quote`: the few words of the source, at most twenty, that decide which answer is better. Copied \
exactly; an empty string if the answers differ in nothing that the source decides.
- `better`: `first` or `second`, the answer that is better by the rubric; `neither` if both are as \
good, or as bad. The order in which they are shown means nothing."""
_AT_ONCE = 16
_MAX_OUTPUT_TOKENS = 300


class PairAnswer(Answer):
    """What is asked of a pair, in one order."""

    quote: str = Field(description="Words of the source, copied exactly, that decide it.")
    better: Literal["first", "second", "neither"] = Field(description="The better answer.")


class AnswerPair(BaseModel):
    """A line of the file: two answers from one source, and what a person said of them."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: str
    source: str
    a: str
    b: str
    verdict: Choice | None = None


@dataclass(frozen=True, slots=True)
class Judgements:
    """What a judge said of some pairs.

    `agreement` is with the people who judged too. `choices` count what it chose of the pairs that
    nobody did; `inconsistent` are those of all that it judged otherwise in the other order, which
    count as ties. `unanswered` are left out of all of them.
    """

    model: str
    agreement: Agreement
    choices: Mapping[Choice, int]
    inconsistent: int
    unanswered: int
    usage: Usage


def read_pairs(path: Path) -> list[AnswerPair]:
    """Read JSON Lines, `{"id", "source", "a", "b", "verdict"}`; the last is `a`, `b` or `tie`.

    Raises:
        UsageError: The file cannot be read, a line is no pair, an id is there twice, or no pair
            has a verdict.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}): name another.") from error
    found: dict[str, AnswerPair] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            pair = AnswerPair.model_validate_json(line, strict=True)
        except ValidationError as error:
            fault = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, fault["loc"])) or "the line"
            raise UsageError(f"{path}:{number}: {where}: {fault['msg']}.") from None
        if pair.id in found:
            raise UsageError(f"{path}:{number}: {pair.id!r} is there twice; a pair has one line.")
        found[pair.id] = pair
    if all(pair.verdict is None for pair in found.values()):
        raise UsageError(
            f"No pair of {path} has a person's verdict, so nothing would show what the judge is "
            'worth, and it is not asked: add "verdict": "a", "b" or "tie" to some of them.'
        )
    return list(found.values())


async def judge(
    asker: Asker,
    tier: Tier,
    pairs: Sequence[AnswerPair],
    *,
    stage: str = STAGE,
    rubric: str = RUBRIC,
    on_answer: Callable[[int], None] = lambda _: None,
) -> Judgements:
    """Ask about all pairs in both orders; `on_answer` is called with a 1 after each answer.

    Raises:
        UsageError: The model answered about no pair that a person judged.
    """
    question = question_for(
        stage,
        PairAnswer,
        _ROLE,
        Section("What to answer", _FIELDS),
        Section("Rubric", rubric),
        max_output_tokens=_MAX_OUTPUT_TOKENS,
    )
    room, models, usages = asyncio.Semaphore(_AT_ONCE), Counter[str](), list[Usage]()

    async def ask(pair: AnswerPair, first: Choice, second: Choice) -> Choice | None:
        async with room:
            try:
                response = await asker.ask(_about(question, pair, first, second), tier)
            except AnswerError as failure:
                usages.append(failure.usage)
                return None
            finally:
                on_answer(1)
        usages.append(response.usage)
        models[response.model] += 1
        chosen: Mapping[str, Choice] = {"first": first, "second": second, "neither": "tie"}
        return chosen[response.answer.better]

    async with asyncio.TaskGroup() as group:
        asked = [
            (pair, group.create_task(ask(pair, "a", "b")), group.create_task(ask(pair, "b", "a")))
            for pair in pairs
        ]
    both = [(pair, one.result(), other.result()) for pair, one, other in asked]
    judged = [
        (pair, one if one == other else "tie", one != other)
        for pair, one, other in both
        if one is not None and other is not None
    ]
    beside = [(choice, pair.verdict) for pair, choice, _ in judged if pair.verdict is not None]
    if not beside:
        raise UsageError(
            "The judge gave no usable answer about a pair that a person judged: ask again, or "
            "another --tier."
        )
    return Judgements(
        model=", ".join(sorted(models)),
        agreement=agreement(beside),
        choices=Counter(choice for pair, choice, _ in judged if pair.verdict is None),
        inconsistent=sum(differs for _, _, differs in judged),
        unanswered=len(both) - len(judged),
        usage=reduce(add, usages, Usage()),
    )


def _about(
    question: Question[PairAnswer], pair: AnswerPair, first: Choice, second: Choice
) -> Question[PairAnswer]:
    answers = {"a": pair.a, "b": pair.b}
    parts = (
        Text("source", pair.source),
        Text("first", answers[first]),
        Text("second", answers[second]),
    )
    return replace(question, parts=parts)
