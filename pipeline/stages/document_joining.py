"""The answers to the parts of a long document, joined into one. Pure."""

from collections import Counter
from collections.abc import Iterator, Sequence

from pipeline.questions import Question, Steps, Text
from pipeline.stages.document_answer import ANSWER_TOKENS, DocumentAnswer, JoinedAnswer
from pipeline.stages.extracting import Extraction
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


class Joining:
    """Asks for the whole of a document whose parts are answered.

    Args:
        stage: Name of the stage.
        most_tokens: That are joined at once; more are joined in several steps.
        extraction: What is extracted beside; the whole has one value of what the parts said.
    """

    def __init__(self, stage: str, *, most_tokens: int, extraction: Extraction) -> None:
        self._stage = stage
        self._most_tokens = most_tokens
        self._extraction = extraction
        self._joined_model = extraction.extended(JoinedAnswer)
        self._joined_schema = answer_schema(self._joined_model)
        self._whole_model = extraction.extended(DocumentAnswer)
        self._instructions = build_instructions(
            _ROLE,
            Section("What to answer", _FIELDS),
            *extraction.sections,
            Section("Care", _CARE),
        )

    def follows(
        self, parts: Sequence[DocumentAnswer], *, max_sentences: int
    ) -> Steps[DocumentAnswer] | DocumentAnswer:
        """What to ask once these are answered; one answer is the answer.

        Args:
            parts: In the order of the document.
            max_sentences: Of the summary of the whole.
        """
        if len(parts) == 1:
            return parts[0]
        batches = self._batches(parts)

        def then(joined: tuple[JoinedAnswer, ...]) -> Steps[DocumentAnswer] | DocumentAnswer:
            wholes = [self._whole(batch, each) for batch, each in zip(batches, joined, strict=True)]
            return self.follows(wholes, max_sentences=max_sentences)

        return Steps(tuple(self._question(batch, max_sentences) for batch in batches), then)

    def _batches(self, parts: Sequence[DocumentAnswer]) -> list[list[DocumentAnswer]]:
        batches: list[list[DocumentAnswer]] = [[]]
        tokens = 0
        for number, part in enumerate(parts, start=1):
            size = sum(about_tokens(text.text) for text in self._texts_of(number, part))
            is_full = len(batches[-1]) >= _LEAST_JOINED and tokens + size > self._most_tokens
            if is_full:
                batches.append([])
                tokens = 0
            batches[-1].append(part)
            tokens += size
        if len(batches) > 1 and len(batches[-1]) < _LEAST_JOINED:
            batches[-2:] = [batches[-2] + batches[-1]]
        return batches

    def _question(
        self, parts: Sequence[DocumentAnswer], max_sentences: int
    ) -> Question[JoinedAnswer]:
        texts = [text for i, part in enumerate(parts, start=1) for text in self._texts_of(i, part)]
        return Question(
            stage=self._stage,
            instructions=self._instructions,
            parts=(Text("max_sentences", str(max_sentences)), *texts),
            answer_model=self._joined_model,
            answer_schema=self._joined_schema,
            max_output_tokens=ANSWER_TOKENS,
        )

    def _texts_of(self, number: int, part: DocumentAnswer) -> Iterator[Text]:
        yield Text(f"part-{number}-summary", part.summary.strip())
        for name, lines in (
            ("key-points", part.key_points),
            ("actions", [_line(action.task, action.owner, action.due) for action in part.actions]),
            ("fields", self._extraction.lines(part)),
        ):
            if lines:
                yield Text(f"part-{number}-{name}", "\n".join(line.strip() for line in lines))

    def _whole(self, parts: Sequence[DocumentAnswer], joined: JoinedAnswer) -> DocumentAnswer:
        """The answer about the whole, no surer than the least sure of what it was made of."""
        stated: list[Answer] = [*parts, joined]
        languages = Counter(part.language for part in parts)
        return self._whole_model(
            quotes=[quote for part in parts for quote in part.quotes],
            key_points=joined.key_points,
            actions=joined.actions,
            summary=joined.summary,
            language=languages.most_common(1)[0][0],
            confidence=_least_sure([answer.confidence for answer in stated]),
            unclear=any(answer.unclear for answer in stated),
            **self._extraction.given(joined),
        )


def _line(task: str, owner: str, due: str) -> str:
    said = [("owner", owner), ("due", due)]
    about = "; ".join(f"{name}: {value.strip()}" for name, value in said if not is_blank(value))
    return f"{task.strip()} ({about})" if about else task


def _least_sure(confidences: Sequence[float]) -> float:
    """The lowest; one outside 0 to 1 is none at all, and has to be seen."""
    strange = (confidence for confidence in confidences if not 0 <= confidence <= 1)
    return next(strange, min(confidences))
