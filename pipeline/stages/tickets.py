"""Support tickets: what they are about, how urgent, in which language, and where they go."""

from collections.abc import Sequence
from functools import cached_property, partial
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from pipeline.config import TicketSettings
from pipeline.model.questions import Query, Signal, Text
from pipeline.stages.checks.encoders import Encoder
from pipeline.stages.checks.injection import injection_signals
from pipeline.stages.checks.scope import Scope, likeness_by
from pipeline.stages.checks.signals import (
    blank_signals,
    language_signals,
    length_signals,
    quote_signals,
    runner_up_signals,
)
from pipeline.stages.checks.text_quality import damage_signals, known_language, visible
from pipeline.stages.fields.extraction import Extracted, FieldExtractor
from pipeline.stages.fields.labels import LabelClassifier, LabelSet, queues, restrict_labels
from pipeline.stages.files.html import readable
from pipeline.stages.files.raw_events import JsonStage
from pipeline.stages.stage import (
    Answer,
    RawEvent,
    Section,
    build_instructions,
    rephrase,
    reverse_labels,
)

Priority = Literal["low", "normal", "high", "urgent"]
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
    def shown_body(self) -> str:
        """The body as a person sees it: what is asked about, and where quotes are looked for."""
        return readable(visible(self.body))


class TicketAnswer(Answer):
    """What is asked of a ticket; the labels of intent are the settings'."""

    quote: str = Field(description="Words of the ticket, copied exactly, that decide its intent.")
    intent: str = Field(description="What the customer wants.")
    runner_up: str | None = Field(description="The second-best intent, or null.")
    several_matters: bool = Field(description="True if it asks for things of different intents.")
    priority: Priority = Field(description="How soon it has to be answered.")
    language: str = Field(description="ISO 639-1 code; empty if there are no words.")
    summary: str = Field(description="One sentence in English.")


class TicketResult(BaseModel):
    """`result` of a record of `tickets.enriched`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    intent: str = Field(description="One of the labels that the pipeline is set up with.")
    priority: Priority
    language: str | None = Field(description="ISO 639-1 code; null if it could not be told.")
    summary: str = Field(description="One sentence in English.")
    queue: str = Field(description="Where the ticket goes: the queue of its intent.")
    runner_up: str | None = Field(description="A second intent that was considered.")
    fields: Extracted = Field(default_factory=dict)


class Tickets(JsonStage[TicketEvent]):
    """The stage `tickets`.

    Args:
        settings: Its labels and limits.
        encoder: Compares texts with the labels' examples; by words if there is none.
    """

    name = "tickets"
    raw_model = TicketEvent
    result_model = TicketResult
    deciding = ("intent",)

    def __init__(self, settings: TicketSettings, encoder: Encoder | None = None) -> None:
        super().__init__(settings)
        self._settings = settings
        self._queues = queues(settings.intents)
        self._languages = frozenset(settings.languages)
        self._scope = Scope(settings.intents, likeness_by(encoder))
        self.checks_slowly = encoder is not None or self._scope.is_slow
        self._extraction = FieldExtractor(settings.fields)
        self._choosing = LabelClassifier(
            LabelSet(self.name, _ROLE, _HOW_TO_CHOOSE, "Intents"),
            settings.intents,
            offer=partial(_instructions, self._extraction),
            answer=partial(_answer_model, self._extraction),
        )

    def question(self, event: TicketEvent) -> Query[TicketAnswer]:
        """Ask about a ticket: its subject, if it has one, and its body."""
        subject = (Text("subject", visible(event.subject)),) if event.subject else ()
        parts = (*subject, Text("body", event.shown_body))
        return self._choosing.about(parts, max_output_tokens=600)

    def signals(self, event: TicketEvent, answer: TicketAnswer) -> Sequence[Signal]:
        """Check the quote, the language, the runner-up, and the ticket itself."""
        texts = (event.subject, event.shown_body)
        if blank := blank_signals(*texts):
            return blank
        return [
            *quote_signals(answer.quote, *texts),
            *runner_up_signals(answer.intent, answer.runner_up, answer.stated_confidence),
            *_own_signals(answer),
            *self._extraction.signals(answer, *texts),
            *language_signals(answer.language, self._languages, *texts),
            *self._scope.signals(answer.intent, *texts),
            *damage_signals(*texts),
            *injection_signals(*texts),
            *length_signals(*texts),
        ]

    def result(self, event: TicketEvent, answer: TicketAnswer) -> TicketResult:  # noqa: ARG002
        """What is published; the queue follows from the intent."""
        return TicketResult(
            intent=answer.intent,
            priority=answer.priority,
            language=known_language(answer.language),
            summary=answer.summary.strip(),
            queue=self._queues[answer.intent],
            runner_up=answer.runner_up if answer.runner_up != answer.intent else None,
            fields=self._extraction.read(answer),
        )

    def second_question(self, event: TicketEvent) -> Query[TicketAnswer]:
        """Ask in other words, with the intents listed backwards."""
        return rephrase(self._backwards.question(event))

    @cached_property
    def _backwards(self) -> "Tickets":
        intents = reverse_labels(self._settings.intents)
        return Tickets(self._settings.model_copy(update={"intents": intents}))


def _instructions(extraction: FieldExtractor, intents: Section) -> str:
    return build_instructions(
        _ROLE,
        Section("What to answer", _FIELDS),
        intents,
        Section("Priorities", _PRIORITIES),
        *extraction.sections,
        Section("How to choose", _HOW_TO_CHOOSE),
    )


def _answer_model(
    extraction: FieldExtractor,
    intents: Any,  # noqa: ANN401 - a type made at run time
) -> type[TicketAnswer]:
    return extraction.extended(
        restrict_labels(TicketAnswer, intent=intents, runner_up=intents | None)
    )


def _own_signals(answer: TicketAnswer) -> list[Signal]:
    found = []
    if answer.several_matters:
        found.append(Signal("several_matters", 1.0, "The ticket asks for several things."))
    if not answer.summary.strip():
        found.append(Signal("missing_field", 0.6, "summary: empty."))
    return found
