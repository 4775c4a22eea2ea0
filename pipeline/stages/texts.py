"""Messy text: cleaned up, and what can be extracted from it letter for letter."""

import html
import re
from collections.abc import Iterator, Sequence

from pydantic import Field

from pipeline.config import TextSettings
from pipeline.model.questions import Query, Signal, Text
from pipeline.model.records import Evidence
from pipeline.stages.checks import evidence, text_quality
from pipeline.stages.checks.edits import edit_signals
from pipeline.stages.checks.injection import injection_signals
from pipeline.stages.checks.places import Places
from pipeline.stages.checks.scope import Encoder, Scope, likeness_by
from pipeline.stages.fields import asking
from pipeline.stages.fields.extraction import Extracted, FieldExtractor
from pipeline.stages.files.raw_events import JsonStage, RawEvent

_TAG = re.compile(r"<[^<>]{1,500}>")
_LONG_REFERENCE = re.compile(r"&#(?:[0-9]{8,}|[xX][0-9a-fA-F]{8,});?")
"""Of no character: they have seven digits at most."""
_CLEANED = ("cleaned_text",)
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,8}[A-Za-z]{2,24}")
_SHORTEST_SHARE = 0.4
"""Of the letters of a text, kept in its clean form: signatures and quoted mail may go."""
_LONGEST_SHARE = 1.3
_ROLE = """\
You tidy up messages that people typed in a hurry, so that programs and colleagues can work with \
them. You correct the form and never the content."""
_FIELDS = """\
- `quote`: the few words, at most fifteen, that decide the intent, copied exactly.
- `dates`: every date, exactly as it stands in the text, letter for letter, in the order of the \
text. With its weekday if one is written with it, without the time of day.
- `emails`: every e-mail address, exactly as it stands in the text, blanks inside it included.
- `phones`: every telephone number, exactly as it stands in the text, with its country code and \
its blanks, without words such as "tel".
- `intent`: one of the labels below.
- `cleaned_text`: the text in its own language, tidied up as described below."""
_CLEANING = """\
Remove markup, entities, quotation marks of forwarded mail (">"), repeated blanks and empty \
lines, repeated punctuation, and lines that a program added ("sent from my phone"). Put blanks \
and commas where they belong, begin sentences with a capital letter, write words in capitals as \
usual, spell out chat abbreviations and correct spelling that is plainly wrong. Keep paragraphs.
Change nothing else: no word is replaced by a better one, no sentence is moved, added or left \
out, nothing is translated, softened or summarised. Names, numbers, dates, amounts, references, \
addresses and telephone numbers stay exactly as they are, even where they look wrong."""
_EXTRACTING = """\
A date names a day: "12/11/2026", "3rd november 2026", "Sat 5 Dec 2026", also one that does not \
exist. "Tomorrow", "next week", a bare weekday, a month without a day, a year, and a time of day \
are none. References, order numbers, amounts and bank accounts are neither dates nor telephone \
numbers, whatever their shape; the words around them tell. Take what is there even if the text \
says that it is wrong or out of date. What is not in the text is not in a list."""
_HOW_TO_CHOOSE = """\
The intent is what the writer wants of whoever reads it. If there are several, take the one that \
needs an answer. If the text is too broken to be understood, tidy up what you can and set \
`unclear` to true."""


class TextEvent(RawEvent):
    """A record of `texts.raw`."""

    text: str


class TextAnswer(asking.Answer):
    """What is asked of a text; the labels of intent are the settings'."""

    quote: str = Field(description="Words of the text, copied exactly, that decide its intent.")
    dates: list[str] = Field(description="Dates, letter for letter as in the text.")
    emails: list[str] = Field(description="E-mail addresses, letter for letter as in the text.")
    phones: list[str] = Field(description="Telephone numbers, letter for letter as in the text.")
    intent: str = Field(description="What the writer wants.")
    cleaned_text: str = Field(description="The text, tidied up, in its own language.")


class TextResult(asking.Strict):
    """`result` of a record of `texts.enriched`."""

    cleaned_text: str
    dates: list[str] = Field(description="As they stand in the text.")
    emails: list[str] = Field(description="As they stand in the text.")
    phones: list[str] = Field(description="As they stand in the text.")
    intent: str = Field(description="One of the labels that the pipeline is set up with.")
    fields: Extracted = Field(default_factory=dict)


class Texts(JsonStage[TextEvent]):
    name = "texts"
    raw_model = TextEvent
    result_model = TextResult
    deciding = ("intent",)

    def __init__(self, settings: TextSettings, encoder: Encoder | None = None) -> None:
        super().__init__(settings)
        self._scope = Scope(settings.intents, likeness_by(encoder))
        self.checks_slowly = encoder is not None or self._scope.is_slow
        self._extraction = FieldExtractor(settings.fields)
        self._choosing = asking.classifier_of(
            asking.LabelSet(self.name, _ROLE, _HOW_TO_CHOOSE, "Intents"),
            settings.intents,
            self._extraction.extended(TextAnswer),
            field="intent",
            before=[
                asking.Section("What to answer", _FIELDS),
                asking.Section("Dates, addresses and numbers", _EXTRACTING),
                asking.Section("Tidying up", _CLEANING),
                *self._extraction.sections,
            ],
        )

    def question(self, event: TextEvent) -> Query[TextAnswer]:
        parts = (Text("text", text_quality.visible(event.text)),)
        return self._choosing.about(parts, max_output_tokens=_longest_answer(event))

    def second_question(self, event: TextEvent) -> Query[TextAnswer]:
        parts = (Text("text", text_quality.visible(event.text)),)
        return self._choosing.rephrased(parts, max_output_tokens=_longest_answer(event))

    def signals(self, event: TextEvent, answer: TextAnswer) -> Sequence[Signal]:
        if text_quality.is_blank(event.text):
            return [text_quality.NO_TEXT]
        # Without markup, as far as comparing needs it.
        plain = _TAG.sub(" ", text_quality.visible(event.text))
        source = html.unescape(_LONG_REFERENCE.sub(" ", plain))
        return [
            *evidence.quote_signals(answer.quote, event.text, source),
            *_list_signals(answer, event.text, source),
            *_cleaning_signals(answer.cleaned_text, source),
            *self._extraction.signals(answer, event.text, source),
            *self._scope.signals(answer.intent, source),
            *text_quality.damage_signals(event.text),
            *injection_signals(event.text),
        ]

    def evidence(self, event: TextEvent, answer: TextAnswer) -> Iterator[Evidence]:
        text = Places(event.text, "text")
        yield from text.evidence("/intent", text.of_copy(answer.quote))
        for name in ("dates", "emails", "phones"):
            for at, value in enumerate(_each_once(getattr(answer, name))):
                yield from text.evidence(f"/{name}/{at}", text.of_copy(value))
        yield from self._extraction.evidence(answer, text)

    def result(self, event: TextEvent, answer: TextAnswer) -> TextResult:  # noqa: ARG002
        dates, emails, phones = map(_each_once, (answer.dates, answer.emails, answer.phones))
        return TextResult(
            cleaned_text=answer.cleaned_text.strip(),
            dates=dates,
            emails=emails,
            phones=phones,
            intent=answer.intent,
            fields=self._extraction.read(answer),
        )


def _longest_answer(event: TextEvent) -> int:
    """In tokens; the clean form is about as long as the text itself."""
    return min(16_000, 500 + len(event.text))


def _each_once(values: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(each.strip() for each in values if not text_quality.is_blank(each)))


def _list_signals(answer: TextAnswer, text: str, source: str) -> list[Signal]:
    found = {"dates": answer.dates, "emails": answer.emails, "phones": answer.phones}
    every = [value for values in found.values() for value in values]
    each_found = zip(every, evidence.quotes_found(every, text, source), strict=True)
    strange = {value for value, is_there in each_found if not is_there}
    signals = [
        Signal("evidence_not_found", 1.0, f"{name}: one of them is not in the text.", (name,))
        for name, values in found.items()
        if not strange.isdisjoint(values)
    ]
    given = {evidence.letters_and_digits(address) for address in answer.emails}
    if any(evidence.letters_and_digits(address) not in given for address in _EMAIL.findall(source)):
        signals.append(
            Signal("missing_field", 0.8, "emails: one of the text was left out.", ("emails",))
        )
    return signals


def _cleaning_signals(cleaned: str, source: str) -> list[Signal]:
    if text_quality.is_blank(cleaned):
        return [Signal("missing_field", 1.0, "cleaned_text: empty.", _CLEANED)]
    found = []
    kept, whole = (len(evidence.letters_and_digits(text)) for text in (cleaned, source))
    share = kept / max(1, whole)
    if not _SHORTEST_SHARE <= share <= _LONGEST_SHARE:
        length = "longer" if share > _LONGEST_SHARE else "shorter"
        found.append(
            Signal("broken_form", 0.7, f"The clean text is much {length} than the text.", _CLEANED)
        )
    if added := evidence.numbers_added(cleaned, source):
        detail = f"{len(added)} numbers are not in the text."
        found.append(Signal("evidence_not_found", 0.9, detail, _CLEANED))
    return [*found, *edit_signals(cleaned, source)]
