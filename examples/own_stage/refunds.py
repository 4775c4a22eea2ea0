"""Requests for refunds: whether the shop's rules allow one, of how much, and who decides."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from pipeline.stages.api import (
    Answer,
    JsonStage,
    Question,
    RawEvent,
    Section,
    Signal,
    StageSettings,
    Text,
    answer_schema,
    blank_signals,
    build_instructions,
    injection_signals,
    numbers_missing,
    parse_amount,
    quote_signals,
    visible,
)

Decision = Literal["refund", "exchange", "refuse"]

ROLE = """\
You decide for a shop what to do about customers who want their money back. Nobody reads the \
message before your decision is carried out."""

FIELDS = """\
- `quote`: the few words of the message, at most twenty, that decide. Copied exactly; an empty \
string only if there are no words.
- `decision`: one of those below.
- `amount`: what the customer wants back, as plain digits with a point before the decimals, as \
the message says it; an empty string if it names no amount."""

DECISIONS = """\
- refund: The goods are faulty, wrong, late or lost, or were sent back within the time for returns.
- exchange: The customer wants another size, colour or piece, not money.
- refuse: The goods were used or kept for too long, or no reason is given that the shop answers \
for."""


class RefundSettings(StageSettings):
    """The table `[stages.refunds]`: what every stage has, and what this one adds."""

    return_days: Annotated[int, Field(ge=1, le=365)] = Field(
        30, description="days within which goods may be sent back for any reason"
    )
    approval_above: Decimal = Field(
        Decimal(100), ge=0, description="refunds of more than this are approved by a person"
    )


class RefundEvent(RawEvent):
    """A record of `refunds.raw`."""

    message: str
    paid: str = Field(description="What the order cost, as a decimal string.")


class RefundAnswer(Answer):
    """What the model is asked; evidence first, as properties are answered in order."""

    quote: str = Field(description="Words of the message, copied exactly, that decide.")
    decision: Decision = Field(description="What to do.")
    amount: str = Field(description="What the customer wants back: plain digits, or empty.")


class RefundResult(BaseModel):
    """`result` of a record of `refunds.enriched`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    decision: Decision
    amount: str | None = Field(description="To be paid back, as a decimal string; null if nothing.")
    needs_approval: bool


class Refunds(JsonStage[RefundEvent]):
    """The stage `refunds`."""

    name = "refunds"
    raw_model = RefundEvent
    result_model = RefundResult
    settings_model = RefundSettings
    deciding = ("decision", "amount")

    def __init__(self, settings: RefundSettings) -> None:
        super().__init__(settings)
        self._approval_above = settings.approval_above
        self._instructions = build_instructions(
            ROLE,
            Section("What to answer", FIELDS),
            Section("Decisions", DECISIONS),
            Section("The time for returns", f"It is {settings.return_days} days."),
        )
        self._answer_schema = answer_schema(RefundAnswer)

    def question(self, event: RefundEvent) -> Question[RefundAnswer]:
        """Ask about a message."""
        return Question(
            stage=self.name,
            instructions=self._instructions,
            parts=(Text("paid", visible(event.paid)), Text("message", visible(event.message))),
            answer_model=RefundAnswer,
            answer_schema=self._answer_schema,
            max_output_tokens=400,
        )

    def signals(self, event: RefundEvent, answer: RefundAnswer) -> Sequence[Signal]:
        """Check the quote, that the amount was written, and that it is not more than was paid."""
        if blank := blank_signals(event.message):
            return blank
        return [
            *quote_signals(answer.quote, event.message),
            *_amount_signals(event, answer),
            *injection_signals(event.message),
        ]

    def result(self, event: RefundEvent, answer: RefundAnswer) -> RefundResult:
        """What is published: of a refund without an amount, all that was paid."""
        amount = parse_amount(answer.amount) or parse_amount(event.paid)
        if answer.decision != "refund" or amount is None:
            return RefundResult(decision=answer.decision, amount=None, needs_approval=False)
        return RefundResult(
            decision="refund",
            amount=format(amount, "f"),
            needs_approval=amount > self._approval_above,
        )


def _amount_signals(event: RefundEvent, answer: RefundAnswer) -> list[Signal]:
    amount, paid = parse_amount(answer.amount), parse_amount(event.paid)
    if amount is None:
        return []
    if numbers_missing([amount], f"{event.message} {event.paid}"):
        return [Signal("evidence_not_found", 1.0, "The amount is not in the message.")]
    if paid is not None and amount > paid:
        # A code of the stage's own: its threshold is other.more_than_paid of the stage.
        return [Signal("more_than_paid", 1.0, "More is wanted back than was paid.")]
    return []
