"""When an answer is doubted."""

from typing import Any, Self

from pydantic import Field, model_validator

from pipeline.config.units import Seconds, Section, Share


class Thresholds(Section):
    """When a doubt counts: each is the strength, 0 to 1, from which a signal is one.

    A confidence of 0.75 is a `low_confidence` signal of strength 0.25. Above 1: never. An answer
    that never came (refused, cut off, malformed) has no threshold: there is nothing to accept.
    """

    low_confidence: float = Field(0.3, ge=0, description="1 - the stated confidence")
    unclear: float = Field(0.5, ge=0, description="1 where the answer says so")
    runner_up_close: float = Field(
        0.33, ge=0, description="odds of another label, where the answer names one"
    )
    several_matters: float = Field(0.5, ge=0, description="1 where one event is really two")
    evidence_not_found: float = Field(
        0.5, ge=0, description="quotes or values that are not in the text"
    )
    arithmetic: float = Field(0.5, ge=0, description="sums that do not add up")
    ambiguous_amount: float = Field(
        0.5, ge=0, description="amounts that nothing in the document decides between two readings"
    )
    missing_field: float = Field(0.5, ge=0, description="fields that a whole document has")
    implausible: float = Field(0.5, ge=0, description="dates, currencies, codes that do not exist")
    broken_form: float = Field(
        0.5, ge=0, description="an answer that is not in the form that was asked for"
    )
    illegible: float = Field(
        0.5,
        ge=0,
        description="0.4 for partly, 1 for not at all; of a text five times the share "
        "of its characters that are damaged",
    )
    unknown_language: float = Field(
        0.5,
        ge=0,
        description="0.6 where no language is told, 0.8 where the text is in another's script, 1 "
        "where it is none of `languages`",
    )
    long_input: float = Field(0.5, ge=0, description="0.5 at about 50,000 tokens, 1 at twice that")
    suspected_injection: float = Field(
        0.5, ge=0, description="content that speaks to the model instead of to people"
    )
    out_of_scope: float = Field(
        0.95, ge=0, description="share of the labels' examples that are closer to the others"
    )
    second_opinion: float = Field(
        0.5, ge=0, description="1 where a second answer decides differently"
    )
    other: dict[str, float] = Field(
        default_factory=dict, description="for codes of one's own stages; 0.5 where not given"
    )

    def changed_by(self, own: "Thresholds") -> Self:
        """These, with what is set in `own` instead; what is not set there stays as it is here."""
        changes: dict[str, Any] = {
            name: getattr(own, name) for name in own.model_fields_set if name != "other"
        }
        return self.model_copy(update={**changes, "other": {**self.other, **own.other}})


class SecondOpinionSettings(Section):
    """A second answer of Haiku to the same question in other words, where its first is unsure.

    Two answers that agree stand, two that do not go to Sonnet.
    """

    enabled: bool = Field(
        False, description="ask for it where it pays at the prices of the day; the log says"
    )
    above: Share = Field(0.5, description="stated confidence from which on it is asked for")
    below: Share = Field(0.85, description="stated confidence from which on it is not")
    spares: Share = Field(
        0.3, description="share of second opinions that spare a call to Sonnet; `evaluate` tells"
    )

    @model_validator(mode="after")
    def _band_has_a_width(self) -> Self:
        if self.above >= self.below:
            raise ValueError("second_opinion.above must be less than second_opinion.below")
        return self


class EscalationSettings(Section):
    """How much Sonnet is asked about at most, of all stages; what is above that waits in Kafka."""

    max_share: Share | None = Field(
        None, description="of recent events, that Sonnet is asked about; no cap where not set"
    )
    per_minute: float = Field(
        10, gt=0, description="escalated events a process takes beyond the share, so that all drain"
    )
    window: Seconds = Field(300, description="seconds that count as recent")


class SonnetThresholds(Thresholds):
    """The same for the second tier, where the next to be asked is a person.

    What a person could not settle either, or what the stronger model is there for, is left out.
    """

    low_confidence: float = Field(0.5, ge=0, description="1 - the stated confidence")
    runner_up_close: float = Field(2, ge=0, description="off: Sonnet's choice stands")
    several_matters: float = Field(2, ge=0, description="off: Sonnet's choice stands")
    missing_field: float = Field(2, ge=0, description="off: the document lacks it")
    implausible: float = Field(0.9, ge=0, description="values that do not exist at all")
    unknown_language: float = Field(2, ge=0, description="off: Sonnet is who takes these")
    out_of_scope: float = Field(2, ge=0, description="off: Sonnet says `unclear` where it is")
    second_opinion: float = Field(2, ge=0, description="off: Sonnet is asked once")
    long_input: float = Field(2, ge=0, description="off: Sonnet is who takes long texts")
    suspected_injection: float = Field(2, ge=0, description="off: Sonnet is who takes these")
