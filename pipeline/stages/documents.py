"""Documents, meetings and long texts: a summary, the key points, and who has to do what.

A long text is asked in parts that end where a reader would pause; the answers to the parts are then
joined into one.
"""

import math
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from pydantic import Field

from pipeline.config import DocumentSettings
from pipeline.model.questions import MultiStepQuery, Query, Signal, Text
from pipeline.model.records import Evidence
from pipeline.stages.checks import evidence, text_quality
from pipeline.stages.checks.claims import claim_signals
from pipeline.stages.checks.injection import injection_signals
from pipeline.stages.checks.places import Places
from pipeline.stages.checks.text_quality import is_blank, stated
from pipeline.stages.fields import asking
from pipeline.stages.fields.extraction import Extracted, FieldExtractor
from pipeline.stages.files.raw_events import JsonStage, RawEvent

ANSWER_TOKENS = 3000
"""Enough for seven key points, some dozen actions and a summary of 30 sentences."""
_SENTENCE_END = re.compile(r"[.!?][\"'”’)\]]*(?=\s+[^\sa-z]|\s*$)|[。！？]")
_SPELT_UP_TO = 20
"""Numbers up to here are often spelt in one of two texts and not in the other."""
_QUOTES_SHOWN = 20
"""Of a document that was asked in parts: each part has two to four."""
_SCANNED_TOKENS = 40_000
"""Of a text that is searched for instructions to a model as a whole."""
_ROLE = """\
You summarise documents, reports and transcripts of meetings for people who will act on the \
summary without reading the original. What is not in the original must not be in the summary."""
_FIELDS = """\
- `quotes`: two to four passages, each at most twenty words, copied exactly, that carry what \
matters most. Of a very short document one is enough.
- `key_points`: the facts, decisions and open questions that a reader must know, most important \
first, three to seven of them, each one short sentence. Of a very short document fewer.
- `actions`: what somebody has to do after this; an empty list if nothing was agreed or asked \
for.
- `summary`: whole sentences, no more of them than `max_sentences` says, no heading, no list.
- `language`: the ISO 639-1 code of the language the document is written in.
Write `key_points`, `actions` and `summary` in the document's own language."""
_ACTIONS = """\
An action is something that a person or a group took on, was told to do or is bound to do: "I \
will call them", "Greg blocks it", "the tenant shall give notice". A wish, a possibility, a \
thing already done, or an idea that nobody took up is none.
- `task`: what is to be done, in a few words, beginning with a verb, understandable by itself.
- `owner`: who does it, as the document names them; an empty string if it does not. In a \
transcript "I" is whoever speaks.
- `due`: by when, in the document's own words, such as "Friday" or "18 November"; an empty \
string if it says nothing. Do not work out dates."""
_CARE = """\
Keep numbers, dates, names, amounts and units exactly as they are; a rounded number is a wrong \
number. Say who said, decided or wants something where that matters, and keep what is certain \
apart from what is only expected or feared. Keep a "not" a "not". Where speakers disagree, say \
so instead of choosing. Leave out greetings, small talk, and what has no consequence. Do not \
judge, advise, or add what you know from elsewhere, even where the document is mistaken. If the \
text is broken off, in disorder, or not a document at all, summarise what there is and set \
`unclear` to true."""
_PART = """\
What you see is one part of a longer document; `part` says which. Summarise this part alone: the \
answers to all parts are joined later. That it begins or ends in the middle of a matter is no \
reason for `unclear`."""
_PART_SENTENCES = 8
"""Of a part's summary, at least: what is left out here is lost."""
_LEAST_JOINED = 2
_JOINING_ROLE = """\
You join the summaries of the parts of one long document into a summary of the whole, for people \
who will act on it without reading the original. What is not in the parts must not be in the \
whole."""
_JOINING_FIELDS = """\
- `key_points`: the facts, decisions and open questions that a reader of the whole must know, \
most important first, three to seven of them, each one short sentence.
- `actions`: what somebody has to do after this, from all parts, each once; an empty list if the \
parts have none. Keep `task`, `owner` and `due` in the words of the parts.
- `summary`: of the whole document, in whole sentences, no more of them than `max_sentences` \
says, no heading, no list. Do not report what each part says.
Write all of it in the language of the parts."""
_JOINING_CARE = """\
The parts are in the order of the document. Where a later part corrects or settles what an \
earlier one left open, the later one counts. Where parts contradict each other for good, say so. \
Keep numbers, dates, names, amounts and units exactly as they are; do not add up, round or work \
out anything. Keep a "not" a "not". Set `unclear` to true only if the parts cannot belong to one \
document."""
_SEARCHED = 0.2
"""Share of a part, at its end, in which a good place to cut is looked for."""
_PAUSES = (
    re.compile(r"\n[^\S\n]*\n\s*"),
    re.compile(r"(?<=[.!?])[\"'”’)\]]*\s+|[。！？]\s*|\n"),
    re.compile(r"\s+"),
)
"""Where to cut, best first: between paragraphs, between sentences, between words."""


class DocumentEvent(RawEvent):
    """A record of `documents.raw`."""

    text: str
    max_sentences: int | None = Field(None, ge=1, le=30, description="Of the summary, at most.")


class AnsweredAction(asking.Strict):
    """Something to be done, as the model read it; empty where the document does not say."""

    task: str = Field(description="What is to be done, in a few words.")
    owner: str = Field(description="Who does it, as the document names them, or empty.")
    due: str = Field(description="By when, in the document's own words, or empty.")


class DocumentAnswer(asking.Answer):
    """What is asked of a document."""

    quotes: list[str] = Field(description="Passages that carry what matters, copied exactly.")
    key_points: list[str] = Field(description="What a reader must know, most important first.")
    actions: list[AnsweredAction] = Field(description="What somebody has to do.")
    summary: str = Field(description="Whole sentences, at most as many as max_sentences says.")
    language: str = Field(description="ISO 639-1 code of the document's language.")


class JoinedAnswer(asking.Answer):
    """What is asked of the answers to all parts of a document: its quotes are the parts' own."""

    key_points: list[str] = Field(description="What a reader must know, most important first.")
    actions: list[AnsweredAction] = Field(description="What somebody has to do.")
    summary: str = Field(description="Whole sentences, at most as many as max_sentences says.")


class Action(asking.Strict):
    """Something to be done; null where the document does not say."""

    task: str
    owner: str | None
    due: str | None = Field(description="In the document's own words.")


class DocumentResult(asking.Strict):
    """`result` of a record of `documents.enriched`."""

    summary: str
    key_points: list[str]
    actions: list[Action]
    language: str | None = Field(description="ISO 639-1 code; null if it could not be told.")
    fields: Extracted = Field(default_factory=dict)


class Documents(JsonStage[DocumentEvent]):
    name = "documents"
    raw_model = DocumentEvent
    result_model = DocumentResult

    def __init__(self, settings: DocumentSettings) -> None:
        super().__init__(settings)
        self.checks_slowly = bool(settings.fields)
        self._settings = settings
        self._extraction = FieldExtractor(settings.fields)
        self._answer_model = self._extraction.extended(DocumentAnswer)
        fields = asking.Section("What to answer", _FIELDS)
        part = asking.Section("A part of a document", _PART)
        more, care = self._extraction.sections, asking.Section("Care", _CARE)
        rest = (asking.Section("Actions", _ACTIONS), *more, care)
        ask = partial(asking.question_for, self.name, max_output_tokens=ANSWER_TOKENS)
        self._whole_question = ask(self._answer_model, _ROLE, fields, *rest)
        self._part_question = ask(self._answer_model, _ROLE, fields, part, *rest)
        self._joining_question = ask(
            self._extraction.extended(JoinedAnswer),
            _JOINING_ROLE,
            asking.Section("What to answer", _JOINING_FIELDS),
            *more,
            asking.Section("Care", _JOINING_CARE),
        )

    def question(self, event: DocumentEvent) -> Query[DocumentAnswer]:
        limit = event.max_sentences or self._settings.max_sentences
        parts = parts_of(text_quality.visible(event.text), self._settings.part_tokens)
        if len(parts) == 1:
            most = Text("max_sentences", str(limit))
            return replace(self._whole_question, parts=(most, Text("document", parts[0])))
        most = Text("max_sentences", str(max(limit, _PART_SENTENCES)))
        questions = []
        for number, part in enumerate(parts, start=1):
            place = Text("part", f"{number} of {len(parts)}")
            said = Text("document", part)
            questions.append(replace(self._part_question, parts=(most, place, said)))
        return MultiStepQuery(tuple(questions), partial(self._join, limit))

    def _join(
        self, max_sentences: int, parts: Sequence[DocumentAnswer]
    ) -> Query[DocumentAnswer] | DocumentAnswer:
        """What to ask once the parts, in their order, are answered; one answer is the answer."""
        if len(parts) == 1:
            return parts[0]
        batches = self._batches(parts)

        def then(joined: tuple[JoinedAnswer, ...]) -> Query[DocumentAnswer] | DocumentAnswer:
            wholes = [self._whole(batch, each) for batch, each in zip(batches, joined, strict=True)]
            return self._join(max_sentences, wholes)

        questions = []
        for batch in batches:
            said = [Text("max_sentences", str(max_sentences))]
            for number, part in enumerate(batch, start=1):
                said += self._said(number, part)
            questions.append(replace(self._joining_question, parts=tuple(said)))
        return MultiStepQuery(tuple(questions), then)

    def _batches(self, parts: Sequence[DocumentAnswer]) -> list[list[DocumentAnswer]]:
        batches: list[list[DocumentAnswer]] = [[]]
        tokens = 0
        for number, part in enumerate(parts, start=1):
            size = sum(text_quality.about_tokens(text.text) for text in self._said(number, part))
            if len(batches[-1]) >= _LEAST_JOINED and tokens + size > self._settings.part_tokens:
                batches.append([])
                tokens = 0
            batches[-1].append(part)
            tokens += size
        if len(batches) > 1 and len(batches[-1]) < _LEAST_JOINED:
            batches[-2:] = [batches[-2] + batches[-1]]
        return batches

    def _said(self, number: int, part: DocumentAnswer) -> Iterator[Text]:
        yield Text(f"part-{number}-summary", part.summary.strip())
        actions = []
        for action in part.actions:
            said = [("owner", action.owner), ("due", action.due)]
            about = "; ".join(
                f"{name}: {what.strip()}" for name, what in said if not is_blank(what)
            )
            actions.append(f"{action.task.strip()} ({about})" if about else action.task)
        for name, lines in (
            ("key-points", part.key_points),
            ("actions", actions),
            ("fields", self._extraction.lines(part)),
        ):
            if lines:
                yield Text(f"part-{number}-{name}", "\n".join(line.strip() for line in lines))

    def _whole(self, parts: Sequence[DocumentAnswer], joined: JoinedAnswer) -> DocumentAnswer:
        """The answer about the whole, no surer than the least sure of what it was made of."""
        stated_by: list[asking.Answer] = [*parts, joined]
        confidences = [answer.confidence for answer in stated_by]
        # One outside 0 to 1 is no confidence at all, and has to be seen.
        strange = [confidence for confidence in confidences if not 0 <= confidence <= 1]
        languages = Counter(part.language for part in parts)
        return self._answer_model(
            quotes=[quote for part in parts for quote in part.quotes],
            key_points=joined.key_points,
            actions=joined.actions,
            summary=joined.summary,
            language=languages.most_common(1)[0][0],
            confidence=strange[0] if strange else min(confidences),
            unclear=any(answer.unclear for answer in stated_by),
            **self._extraction.given(joined),
        )

    def signals(self, event: DocumentEvent, answer: DocumentAnswer) -> Sequence[Signal]:
        text = event.text
        if is_blank(text):
            return [text_quality.NO_TEXT]
        limit = event.max_sentences or self._settings.max_sentences
        return [
            *_evidence_signals(answer, text),
            *_form_signals(answer, limit),
            *self._extraction.signals(answer, text),
            *text_quality.language_signals(answer.language, self._settings.languages, text),
            *text_quality.damage_signals(text),
            *injection_signals(*parts_of(text, _SCANNED_TOKENS)),
            *text_quality.length_signals(max(parts_of(text, self._settings.part_tokens), key=len)),
        ]

    def evidence(self, event: DocumentEvent, answer: DocumentAnswer) -> Iterator[Evidence]:
        text = Places(event.text, "text")
        for quote in answer.quotes[:_QUOTES_SHOWN]:
            yield from text.evidence("/summary", text.of_copy(quote))
        for at, action in enumerate(answer.actions):
            for name, value in (("owner", stated(action.owner)), ("due", stated(action.due))):
                if value is not None:
                    yield from text.evidence(f"/actions/{at}/{name}", text.of_copy(value))
        yield from self._extraction.evidence(answer, text)

    def result(self, event: DocumentEvent, answer: DocumentAnswer) -> DocumentResult:  # noqa: ARG002
        return DocumentResult(
            summary=answer.summary.strip(),
            key_points=[each.strip() for each in answer.key_points if not is_blank(each)],
            actions=[
                Action(task=each.task.strip(), owner=stated(each.owner), due=stated(each.due))
                for each in answer.actions
            ],
            language=text_quality.known_language(answer.language),
            fields=self._extraction.read(answer),
        )


def count_sentences(text: str) -> int:
    """Count the sentences of a text, roughly: an abbreviation may count as an end."""
    return len(_SENTENCE_END.findall(text.strip())) or int(not is_blank(text))


def _evidence_signals(answer: DocumentAnswer, text: str) -> Iterator[Signal]:
    if all(is_blank(quote) for quote in answer.quotes):
        yield from evidence.quote_signals("", text)
    elif missing := evidence.quotes_found(answer.quotes, text).count(False):
        yield Signal("evidence_not_found", 1.0, f"{missing} quotes are not in the document.")
    tasks = (action.task for action in answer.actions)
    written = "\n".join([answer.summary, *answer.key_points, *tasks])
    if added := evidence.numbers_added(written, text, above=_SPELT_UP_TO):
        detail = f"{len(added)} numbers are not in the document."
        yield Signal("evidence_not_found", 0.9, detail, ("summary", "key_points"))
    yield from claim_signals(written, text, language=text_quality.known_language(answer.language))
    said = {
        "owners": [each.owner for each in answer.actions if stated(each.owner)],
        "due dates": [each.due for each in answer.actions if stated(each.due)],
    }
    for name, values in said.items():
        if missing := evidence.quotes_found(values, text).count(False):
            detail = f"{missing} actions have {name} that nobody mentions."
            yield Signal("evidence_not_found", 0.7, detail, ("actions",))


def _form_signals(answer: DocumentAnswer, limit: int) -> list[Signal]:
    if is_blank(answer.summary):
        return [Signal("missing_field", 1.0, "summary: empty.", ("summary",))]
    excess = count_sentences(answer.summary) - limit
    if excess <= 0:
        return []
    # One too many may be an abbreviation that looks like an end.
    strength = 0.4 if excess == 1 else 0.8
    return [
        Signal(
            "broken_form", strength, f"The summary has {excess} sentences too many.", ("summary",)
        )
    ]


def parts_of(text: str, most_tokens: int) -> tuple[str, ...]:
    """Cut a text into parts of about the same length, none longer than `most_tokens`, at least 10.

    Together they are the text, character by character.
    """
    parts = []
    size, begin = text_quality.weighted_bytes(text), 0
    while (tokens := math.ceil(size * text_quality.TOKENS_PER_BYTE)) > most_tokens:
        # Room for a cut that comes early, so that it does not make one more part of the rest.
        remaining = math.ceil(tokens / (most_tokens * (1 - _SEARCHED / 2)))
        at_most = min(most_tokens, tokens / remaining * (1 + _SEARCHED / 2))
        # No character has less than a byte, so the rest of the text need not be looked at.
        part = text[begin : begin + math.ceil(at_most / text_quality.TOKENS_PER_BYTE) + 1]
        part = part[: _place_to_cut(part, at_most)]
        parts.append(part)
        begin += len(part)
        size -= text_quality.weighted_bytes(part)
    return (*parts, text[begin:])


def _place_to_cut(text: str, most_tokens: float) -> int:
    # The most characters from the beginning that have no more tokens than that.
    lengths = range(1, len(text) + 1)
    about_tokens = text_quality.about_tokens
    latest = max(1, bisect_right(lengths, most_tokens, key=lambda end: about_tokens(text[:end])))
    earliest = math.ceil(latest * (1 - _SEARCHED))
    for pause in _PAUSES:
        ends = [found.end() for found in pause.finditer(text, earliest, latest)]
        if ends:
            return ends[-1]
    return latest
