"""Support tickets: what they are about, how urgent, in which language, and where they go."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Literal

from pydantic import Field

from pipeline.config import TicketSettings
from pipeline.model.questions import Query, Signal, Text
from pipeline.model.records import Evidence
from pipeline.stages.checks import text_quality
from pipeline.stages.checks.claims import claim_signals
from pipeline.stages.checks.evidence import numbers_added, quote_signals
from pipeline.stages.checks.injection import injection_signals
from pipeline.stages.checks.places import Places, copied_from
from pipeline.stages.checks.scope import Encoder, Scope, likeness_by
from pipeline.stages.fields import asking
from pipeline.stages.fields.extraction import Extracted, FieldExtractor
from pipeline.stages.files.html_mail import LOOKS_LIKE_HTML, readable
from pipeline.stages.files.raw_events import JsonStage, RawEvent

Priority = Literal["low", "normal", "high", "urgent"]
_SPELT_UP_TO = 20
"""Numbers up to here are often spelt in one of two texts and not in the other."""
_ROLE = """\
You sort the support tickets of a company. Each ticket is routed by what you answer, without \
anybody reading it first, so the label has to be right and the doubt has to be honest."""
_FIELDS = """\
- `quote`: the few words of the ticket, at most twenty, that decide its intent. Copied exactly, \
in the ticket's own language; an empty string only if the ticket has no words.
- `intent`: one of the labels below.
- `runner_up`: the label that comes second, if a careful person could defend it; otherwise null.
- `several_matters`: true if the ticket asks for two or more things that belong to different \
labels. Then `intent` is the one that cannot wait, or else the first, and `runner_up` the other.
- `priority`: see below.
- `language`: the ISO 639-1 code of the language the customer writes in, for example en, de, pt, \
zh; an empty string if there are no words. Quoted mail, signatures and product names do not \
count.
- `summary`: one sentence in English, at most 25 words, saying who wants what. Facts of the \
ticket only: no advice, no guesses, no greeting."""
_PRIORITIES = """\
- urgent: people are in danger, money is being lost now, data has leaked, or many users cannot \
work at all.
- high: one customer cannot use what they pay for, was charged wrongly, names a deadline within \
two days, or threatens to leave or to sue.
- normal: a request or a fault that can wait for the usual answering time.
- low: thanks, feedback, ideas, questions out of curiosity, advertising.
Capital letters, exclamation marks and the word "urgent" alone do not raise the priority; what \
happened does."""
_HOW_TO_CHOOSE = """\
Judge what the customer wants to happen next, not which words occur: "I cannot pay because the \
page shows an error" is a fault of the page, "the error on my invoice" is about the invoice. \
Where a ticket continues an earlier conversation, the newest message counts. Sarcasm and anger \
are a tone, not an intent. If no label fits, take the one that would know best whom to ask, and \
set `unclear` to true. Advertising, chain letters and empty tickets are not faults of the \
customer: label them as well as you can and set `unclear` to true."""


class TicketEvent(RawEvent):
    """A record of `tickets.raw`."""

    body: str
    subject: str | None = None
    customer_id: str | None = None
    channel: str | None = Field(None, description="E-mail, chat, telephone; the publisher's words.")
    created_at: str | None = Field(None, description="RFC 3339.")

    @cached_property
    def shown(self) -> tuple[Text, ...]:
        """Subject, if any, and body as a person sees them: what is asked about."""
        visible = text_quality.visible
        subject = (Text("subject", visible(self.subject)),) if self.subject else ()
        body = visible(self.body)
        return (*subject, Text("body", readable(body) if LOOKS_LIKE_HTML.search(body) else body))


class TicketAnswer(asking.Answer):
    """What is asked of a ticket; the labels of intent are the settings'."""

    quote: str = Field(description="Words of the ticket, copied exactly, that decide its intent.")
    intent: str = Field(description="What the customer wants.")
    runner_up: str | None = Field(description="The second-best intent, or null.")
    several_matters: bool = Field(description="True if it asks for things of different intents.")
    priority: Priority = Field(description="How soon it has to be answered.")
    language: str = Field(description="ISO 639-1 code; empty if there are no words.")
    summary: str = Field(description="One sentence in English.")


class TicketResult(asking.Strict):
    """`result` of a record of `tickets.enriched`."""

    intent: str = Field(description="One of the labels that the pipeline is set up with.")
    priority: Priority
    language: str | None = Field(description="ISO 639-1 code; null if it could not be told.")
    summary: str = Field(description="One sentence in English.")
    queue: str = Field(description="Where the ticket goes: the queue of its intent.")
    runner_up: str | None = Field(description="A second intent that was considered.")
    fields: Extracted = Field(default_factory=dict)


class Tickets(JsonStage[TicketEvent]):
    name = "tickets"
    raw_model = TicketEvent
    result_model = TicketResult
    deciding = ("intent",)

    def __init__(self, settings: TicketSettings, encoder: Encoder | None = None) -> None:
        super().__init__(settings)
        self._queues = {label.name: label.queue or label.name for label in settings.intents}
        self._languages = frozenset(settings.languages)
        self._scope = Scope(settings.intents, likeness_by(encoder))
        self.checks_slowly = encoder is not None or self._scope.is_slow
        self._extraction = FieldExtractor(settings.fields)
        self._choosing = asking.classifier_of(
            asking.LabelSet(self.name, _ROLE, _HOW_TO_CHOOSE, "Intents"),
            settings.intents,
            self._extraction.extended(TicketAnswer),
            field="intent",
            before=[asking.Section("What to answer", _FIELDS)],
            after=[asking.Section("Priorities", _PRIORITIES), *self._extraction.sections],
        )

    def question(self, event: TicketEvent) -> Query[TicketAnswer]:
        return self._choosing.about(event.shown, max_output_tokens=600)

    def second_question(self, event: TicketEvent) -> Query[TicketAnswer]:
        return self._choosing.rephrased(event.shown, max_output_tokens=600)

    def signals(self, event: TicketEvent, answer: TicketAnswer) -> Sequence[Signal]:
        texts = (event.subject, event.shown[-1].text)
        if text_quality.is_blank(*texts):
            return [text_quality.NO_TEXT]
        own = []
        if answer.several_matters:
            own.append(Signal("several_matters", 1.0, "The ticket asks for several things."))
        if not answer.summary.strip():
            own.append(Signal("missing_field", 0.6, "summary: empty.", ("summary",)))
        return [
            *quote_signals(answer.quote, *texts),
            *asking.runner_up_signals(answer.intent, answer.runner_up, answer.stated_confidence),
            *own,
            *self._claims(answer, "\n".join(text for text in texts if text)),
            *self._extraction.signals(answer, *texts),
            *text_quality.language_signals(answer.language, self._languages, *texts),
            *self._scope.signals(answer.intent, *texts),
            *text_quality.damage_signals(*texts),
            *injection_signals(*texts),
            *text_quality.length_signals(*texts),
        ]

    def _claims(self, answer: TicketAnswer, text: str) -> Iterator[Signal]:
        """The summary is in English: names and words of other languages are not compared."""
        if added := numbers_added(answer.summary, text, above=_SPELT_UP_TO):
            yield Signal(
                "evidence_not_found", 0.9, f"summary: {len(added)} numbers not in the text."
            )
        language = text_quality.known_language(answer.language)
        if language == "en":
            yield from claim_signals(answer.summary, text, language=language)

    def evidence(self, event: TicketEvent, answer: TicketAnswer) -> Iterator[Evidence]:
        texts = [Places(event.body, "body")]
        if event.subject:
            texts.append(Places(event.subject, "subject"))
        yield from copied_from(texts, "/intent", answer.quote)
        yield from self._extraction.evidence(answer, *texts)

    def result(self, event: TicketEvent, answer: TicketAnswer) -> TicketResult:  # noqa: ARG002
        return TicketResult(
            intent=answer.intent,
            priority=answer.priority,
            language=text_quality.known_language(answer.language),
            summary=answer.summary.strip(),
            queue=self._queues[answer.intent],
            runner_up=answer.runner_up if answer.runner_up != answer.intent else None,
            fields=self._extraction.read(answer),
        )
