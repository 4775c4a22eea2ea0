"""What a team wants to know of each text or file, by settings alone: a kind, not one stage.

The result has the fields of the settings and nothing else, each with its type, so its schema is the
stage's own.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from pydantic import BaseModel, Field

from pipeline.config import ExtractSettings
from pipeline.model.questions import Query, Question, Signal, Text
from pipeline.model.records import Evidence
from pipeline.stages.checks import text_quality
from pipeline.stages.checks.evidence import quote_signals
from pipeline.stages.checks.injection import injection_signals
from pipeline.stages.checks.places import Places
from pipeline.stages.fields import asking
from pipeline.stages.fields.extraction import FieldExtractor
from pipeline.stages.files.html_mail import LOOKS_LIKE_HTML, readable
from pipeline.stages.files.raw_events import FileEvent, Files

_ROLE = """\
You read texts and documents that arrive at a company, and take out of them what it needs to know. \
What you answer is stored and used without anybody comparing it with the document, so an empty \
field is better than a wrong one."""
_FIELDS = """\
- `quote`: the few words and figures of the content, at most twenty, from which the most important \
of the fields below is known. Copied exactly; an empty string if nothing can be read.
- `language`: the ISO 639-1 code of the language that the content is written in, for example en, \
de, pt, zh; an empty string if there are no words.
- `legibility`: legible if everything that is asked for can be read without guessing, as far as \
it is there; partly if something of it cannot be; illegible if hardly anything can be."""
_CARE = """\
Give what the content says, never what usually stands in such documents, and never what you worked \
out unless a field asks for that. A value belongs to a field only if the content says so: of two \
dates or two amounts take the one that the field's description means, and if it could be either, \
take the likelier one and set `unclear` to true. What is crossed out, quoted from somebody else or \
given as an example is not the document's own. With a date like 03/04/2025 the country, the \
language and the other dates decide which part is the month. Read a number digit by digit; 3 and \
8, 1 and 7, 0 and 6 are easily confused on scans. If the content is something else altogether than \
what the fields are about, leave them empty and set `unclear` to true."""


class ExtractEvent(FileEvent):
    """A record of `extract.raw`: exactly one of `text`, `file` and `uri`."""

    text: str | None = Field(None, description="The content as text.")

    @classmethod
    def contents(cls) -> tuple[str, ...]:
        """The fields of which an event has exactly one."""
        return ("text", *super().contents())

    @property
    def shown(self) -> str | None:
        """The text, if it is one, as a person sees it: what is asked about."""
        if self.text is None:
            return None
        text = text_quality.visible(self.text)
        return readable(text) if LOOKS_LIKE_HTML.search(text) else text


class ExtractAnswer(asking.Answer):
    """What is asked beside the fields of the settings."""

    quote: str = Field(description="Words of the content, copied exactly, that say what matters.")
    language: str = Field(description="ISO 639-1 code; empty if there are no words.")
    legibility: text_quality.Legibility = Field(
        description="Whether what is asked for can be read, as far as it is there."
    )


class Extract:
    name = "extract"
    raw_model = ExtractEvent
    reads_files = True
    checks_slowly = True

    def __init__(self, settings: ExtractSettings) -> None:
        self._settings = settings
        self._languages = frozenset(settings.languages)
        self._files = Files(settings)
        self._extraction = FieldExtractor(settings.fields, within="")
        self.result_model = self._extraction.result_model(
            "ExtractResult", f"`result` of a record of `{self.name}.enriched`."
        )
        self.deciding = tuple(
            field.name for field in settings.fields if field.name not in ExtractAnswer.model_fields
        )
        self._question = asking.question_for(
            self.name,
            self._extraction.extended(ExtractAnswer),
            asking.role_for(_ROLE, settings.task),
            asking.Section("What to answer", _FIELDS),
            *self._extraction.sections,
            asking.Section("Care", _CARE),
            asking.Section("Pictures in parts", asking.PARTS_OF_A_PICTURE),
            max_output_tokens=400 + self._extraction.max_output_tokens,
        )

    def parse(
        self, value: bytes, *, key: bytes | None, headers: Mapping[str, bytes]
    ) -> ExtractEvent:
        return self._files.read_event(ExtractEvent, value, key=key, headers=headers)

    def question(self, event: ExtractEvent) -> Question[ExtractAnswer]:
        text = event.shown
        if text is None:
            return replace(self._question, parts=self._files.open(event))
        return replace(self._question, parts=(Text("text", text),))

    def second_question(self, event: ExtractEvent) -> Query[ExtractAnswer]:
        return asking.rephrase(self.question(event))

    def signals(self, event: ExtractEvent, answer: ExtractAnswer) -> Sequence[Signal]:
        text = event.shown
        found = [
            *text_quality.legibility_signals(answer.legibility),
            *self._extraction.signals(answer, text),
        ]
        # A table of figures is in no language, which is no fault where any will do.
        if self._languages or text_quality.stated(answer.language):
            found += text_quality.language_signals(answer.language, self._languages, text)
        if text is None:
            return found + injection_signals(answer.quote, *self._extraction.texts(answer))
        if text_quality.is_blank(text):
            return [*found, text_quality.NO_TEXT]
        return [
            *found,
            *quote_signals(answer.quote, text),
            *text_quality.damage_signals(text),
            *injection_signals(text),
            *text_quality.length_signals(text),
        ]

    def evidence(self, event: ExtractEvent, answer: ExtractAnswer) -> Iterator[Evidence]:
        if event.text is not None:
            yield from self._extraction.evidence(answer, Places(event.text, "text"), within="")

    def result(self, event: ExtractEvent, answer: ExtractAnswer) -> BaseModel:  # noqa: ARG002
        return self.result_model.model_validate(self._extraction.read(answer))
