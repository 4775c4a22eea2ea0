"""The answers to the parts of a long document, joined into one. Pure."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.questions import Question, Steps, Text
from pipeline.stages.document_answer import ANSWER_TOKENS, DocumentAnswer, JoinedAnswer
from pipeline.stages.prompt import Section, build_instructions
from pipeline.stages.schema import answer_schema
from pipeline.stages.splitting import about_tokens
from pipeline.stages.stage import Answer
from pipeline.stages.text import is_blank

_LEAST_JOINED = 2

_ROLE = """\
You join the summaries of the parts of one long document into a summary of the whole, for people \
who will act on it without reading the original. What is not in the parts must not be in the \
whole."""

_FIELDS = """\
- `key_points`: the facts, decisions and open questions that a reader of the whole must know, \
most important first, three to seven of them, each one short sentence.
- `actions`: what somebody has to do after this, from all parts, each once; an empty list if the \
parts have none. Keep `task`, `owner` and `due` in the words of the parts.
- `summary`: of the whole document, in whole sentences, no more of them than `max_sentences` \
says, no heading, no list. Do not tell what each part says.
Write all of it in the language of the parts."""

_CARE = """\
The parts are in the order of the document. Where a later part corrects or settles what an \
earlier one left open, the later one counts. Where parts contradict each other for good, say so. \
Keep numbers, dates, names, amounts and units exactly as they are; do not add up, round or work \
out anything. Keep a "not" a "not". Set `unclear` to true only if the parts cannot belong to one \
document."""

INSTRUCTIONS = build_instructions(
    _ROLE,
    Section("What to answer", _FIELDS),
    Section("Care", _CARE),
)
_SCHEMA = answer_schema(JoinedAnswer)


@dataclass(frozen=True, slots=True)
class Joining:
    """Asks for the whole of a document whose parts are answered.

    Args:
        stage: Name of the stage.
        max_sentences: Of the summary of the whole.
        most_tokens: That are joined at once; more are joined in several steps.
    """

    stage: str
    max_sentences: int
    most_tokens: int

    def follows(self, parts: Sequence[DocumentAnswer]) -> Steps[DocumentAnswer] | DocumentAnswer:
        """What to ask once these are answered; one answer is the answer."""
        if len(parts) == 1:
            return parts[0]
        batches = self._batches(parts)

        def then(joined: tuple[JoinedAnswer, ...]) -> Steps[DocumentAnswer] | DocumentAnswer:
            return self.follows(
                [_whole(batch, whole) for batch, whole in zip(batches, joined, strict=True)]
            )

        return Steps(tuple(self._question(batch) for batch in batches), then)

    def _batches(self, parts: Sequence[DocumentAnswer]) -> list[list[DocumentAnswer]]:
        batches: list[list[DocumentAnswer]] = [[]]
        tokens = 0
        for number, part in enumerate(parts, start=1):
            size = sum(about_tokens(text.text) for text in _texts_of(number, part))
            is_full = len(batches[-1]) >= _LEAST_JOINED and tokens + size > self.most_tokens
            if is_full:
                batches.append([])
                tokens = 0
            batches[-1].append(part)
            tokens += size
        if len(batches) > 1 and len(batches[-1]) < _LEAST_JOINED:
            batches[-2:] = [batches[-2] + batches[-1]]
        return batches

    def _question(self, parts: Sequence[DocumentAnswer]) -> Question[JoinedAnswer]:
        texts = [text for i, part in enumerate(parts, start=1) for text in _texts_of(i, part)]
        return Question(
            stage=self.stage,
            instructions=INSTRUCTIONS,
            parts=(Text("max_sentences", str(self.max_sentences)), *texts),
            answer_model=JoinedAnswer,
            answer_schema=_SCHEMA,
            max_output_tokens=ANSWER_TOKENS,
        )


def _texts_of(number: int, part: DocumentAnswer) -> Iterator[Text]:
    yield Text(f"part-{number}-summary", part.summary.strip())
    for name, lines in (
        ("key-points", part.key_points),
        ("actions", [_line(action.task, action.owner, action.due) for action in part.actions]),
    ):
        if lines:
            yield Text(f"part-{number}-{name}", "\n".join(line.strip() for line in lines))


def _line(task: str, owner: str, due: str) -> str:
    said = [("owner", owner), ("due", due)]
    about = "; ".join(f"{name}: {value.strip()}" for name, value in said if not is_blank(value))
    return f"{task.strip()} ({about})" if about else task


def _whole(parts: Sequence[DocumentAnswer], joined: JoinedAnswer) -> DocumentAnswer:
    """The answer about the whole, no surer than the least sure of what it was made of."""
    stated: list[Answer] = [*parts, joined]
    languages = Counter(part.language for part in parts)
    return DocumentAnswer(
        quotes=[quote for part in parts for quote in part.quotes],
        key_points=joined.key_points,
        actions=joined.actions,
        summary=joined.summary,
        language=languages.most_common(1)[0][0],
        confidence=_least_sure([answer.confidence for answer in stated]),
        unclear=any(answer.unclear for answer in stated),
    )


def _least_sure(confidences: Sequence[float]) -> float:
    """The lowest; one outside 0 to 1 is none at all, and has to be seen."""
    strange = (confidence for confidence in confidences if not 0 <= confidence <= 1)
    return next(strange, min(confidences))
