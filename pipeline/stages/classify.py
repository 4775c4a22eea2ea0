"""One of a team's labels for each text, by settings alone: a kind, not one stage."""

from collections.abc import Iterator, Sequence

from pydantic import Field

from pipeline.config import ClassifySettings
from pipeline.model.questions import Query, Signal, Text
from pipeline.model.records import Evidence
from pipeline.stages.checks import text_quality
from pipeline.stages.checks.evidence import quote_signals
from pipeline.stages.checks.injection import injection_signals
from pipeline.stages.checks.places import Places
from pipeline.stages.checks.scope import Encoder, Scope, likeness_by
from pipeline.stages.fields import asking
from pipeline.stages.fields.extraction import Extracted, FieldExtractor
from pipeline.stages.files.html_mail import LOOKS_LIKE_HTML, readable
from pipeline.stages.files.raw_events import JsonStage, RawEvent

_ROLE = """\
You put texts that arrive at a company into categories. What is done with each of them follows \
from the label that you choose, without anybody reading the text first, so the label has to be \
right and the doubt has to be honest."""
_FIELDS = """\
- `quote`: the few words of the text, at most twenty, that decide its label. Copied exactly, in \
the text's own language; an empty string only if the text has no words.
- `label`: one of the labels below.
- `runner_up`: the label that comes second, if a careful person could defend it; otherwise null.
- `language`: the ISO 639-1 code of the language that the text is written in, for example en, de, \
pt, zh; an empty string if there are no words. Quoted passages, signatures and product names do \
not count."""
_HOW_TO_CHOOSE = """\
Judge what the text as a whole is, says or wants, not which words occur in it: a text that names \
something is not yet about it, and one that is about something need not name it. The descriptions \
and examples of the labels count before what their names seem to mean. Where a text continues an \
earlier one that it quotes, the newest part counts. If it belongs under two labels, take the one \
that matters most to whoever reads it, and name the other as `runner_up`. If no label fits, take \
the closest, and set `unclear` to true."""


class ClassifyEvent(RawEvent):
    """A record of `classify.raw`."""

    text: str

    @property
    def shown(self) -> str:
        """The text as a person sees it: what is asked about."""
        text = text_quality.visible(self.text)
        return readable(text) if LOOKS_LIKE_HTML.search(text) else text


class ClassifyAnswer(asking.Answer):
    """What is asked of a text; the labels are the settings'."""

    quote: str = Field(description="Words of the text, copied exactly, that decide its label.")
    label: str = Field(description="What the text is.")
    runner_up: str | None = Field(description="The second-best label, or null.")
    language: str = Field(description="ISO 639-1 code; empty if there are no words.")


class ClassifyResult(asking.Strict):
    """`result` of a record of `classify.enriched`."""

    label: str = Field(description="One of the labels that the pipeline is set up with.")
    queue: str = Field(description="Where it goes: the queue of its label, or the label.")
    runner_up: str | None = Field(description="A second label that was considered.")
    language: str | None = Field(description="ISO 639-1 code; null if it is not known.")
    fields: Extracted = Field(default_factory=dict)


class Classify(JsonStage[ClassifyEvent]):
    name = "classify"
    raw_model = ClassifyEvent
    result_model = ClassifyResult
    deciding = ("label",)

    def __init__(self, settings: ClassifySettings, encoder: Encoder | None = None) -> None:
        super().__init__(settings)
        self._queues = {label.name: label.queue or label.name for label in settings.labels}
        self._languages = frozenset(settings.languages)
        self._scope = Scope(settings.labels, likeness_by(encoder))
        self.checks_slowly = encoder is not None or self._scope.is_slow
        self._extraction = FieldExtractor(settings.fields)
        self._choosing = asking.classifier_of(
            asking.LabelSet(
                self.name, asking.role_for(_ROLE, settings.task), _HOW_TO_CHOOSE, "Labels"
            ),
            settings.labels,
            self._extraction.extended(ClassifyAnswer),
            field="label",
            before=[asking.Section("What to answer", _FIELDS)],
            after=self._extraction.sections,
        )
        self._max_output_tokens = 400 + self._extraction.max_output_tokens

    def question(self, event: ClassifyEvent) -> Query[ClassifyAnswer]:
        parts = (Text("text", event.shown),)
        return self._choosing.about(parts, max_output_tokens=self._max_output_tokens)

    def second_question(self, event: ClassifyEvent) -> Query[ClassifyAnswer]:
        parts = (Text("text", event.shown),)
        return self._choosing.rephrased(parts, max_output_tokens=self._max_output_tokens)

    def signals(self, event: ClassifyEvent, answer: ClassifyAnswer) -> Sequence[Signal]:
        text = event.shown
        if text_quality.is_blank(text):
            return [text_quality.NO_TEXT]
        return [
            *quote_signals(answer.quote, text),
            *asking.runner_up_signals(answer.label, answer.runner_up, answer.stated_confidence),
            *self._extraction.signals(answer, text),
            *text_quality.language_signals(answer.language, self._languages, text),
            *self._scope.signals(answer.label, text),
            *text_quality.damage_signals(text),
            *injection_signals(text),
            *text_quality.length_signals(text),
        ]

    def evidence(self, event: ClassifyEvent, answer: ClassifyAnswer) -> Iterator[Evidence]:
        text = Places(event.text, "text")
        yield from text.evidence("/label", text.of_copy(answer.quote))
        yield from self._extraction.evidence(answer, text)

    def result(self, event: ClassifyEvent, answer: ClassifyAnswer) -> ClassifyResult:  # noqa: ARG002
        return ClassifyResult(
            label=answer.label,
            queue=self._queues[answer.label],
            runner_up=answer.runner_up if answer.runner_up != answer.label else None,
            language=text_quality.known_language(answer.language),
            fields=self._extraction.read(answer),
        )
