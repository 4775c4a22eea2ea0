"""When an answer is doubted: one table of thresholds, with overrides by tier, stage and label.

What holds for an answer is looked up from the general to the special, and the last that is set
counts: the default of its tier, `[thresholds]` (Haiku's) or `[thresholds.sonnet]`,
`[thresholds.stages.<stage>]`, `[thresholds.stages.<stage>.labels.<label>]`; each of the last two
has a table `sonnet` as well.
"""

from typing import Annotated

from pydantic import Field

from pipeline.config.tables import Section, setting
from pipeline.model.records import Tier

Strength = Annotated[float, Field(ge=0)]


class Thresholds(Section):
    """When a doubt counts: each is the strength, 0 to 1, from which a signal is one.

    A confidence of 0.75 is a `low_confidence` signal of strength 0.25. Above 1: never. An answer
    that never came (refused, cut off, malformed) has no threshold: there is nothing to accept.
    """

    low_confidence: Strength = setting(0.3, "1 - the stated confidence")
    unclear: Strength = setting(0.5, "1 where the answer says so")
    runner_up_close: Strength = setting(0.33, "odds of another label, where the answer names one")
    several_matters: Strength = setting(0.5, "1 where one event is really two")
    evidence_not_found: Strength = setting(0.5, "quotes or values that are not in the text")
    unsupported_claim: Strength = setting(
        0.5, "dates, names or passages in quotation marks of a summary that its text does not hold"
    )
    changed_text: Strength = setting(
        0.3, "share of a tidied text that was added or left out; 0.7 to 0.9 for what must stay"
    )
    example_failed: Strength = setting(
        0.5, "1 where an example of a docstring does not do what it shows"
    )
    arithmetic: Strength = setting(0.5, "sums that do not add up")
    ambiguous_amount: Strength = setting(
        0.5, "amounts that nothing in the document decides between two readings"
    )
    missing_field: Strength = setting(0.5, "fields that a whole document has")
    implausible: Strength = setting(0.5, "dates, currencies, codes that do not exist")
    broken_form: Strength = setting(0.5, "an answer that is not in the form that was asked for")
    illegible: Strength = setting(
        0.5,
        "0.4 for partly, 1 for not at all; of a text five times the share "
        "of its characters that are damaged",
    )
    unknown_language: Strength = setting(
        0.5,
        "0.6 where no language is stated, 0.8 where the text is in another's script, 1 "
        "where it is none of `languages`",
    )
    long_input: Strength = setting(0.5, "0.5 at about 50,000 tokens, 1 at twice that")
    suspected_injection: Strength = setting(
        0.5, "content that speaks to the model instead of to people"
    )
    out_of_scope: Strength = setting(
        0.95, "share of the labels' examples that are closer to the others"
    )
    document_contradicts: Strength = setting(
        0.5, "an e-invoice whose own data do not agree, or lack what they must have"
    )
    second_opinion: Strength = setting(0.5, "1 where a second answer decides differently")
    boundaries: Strength = setting(
        0.5, "1 where the pages on which documents are said to begin contradict each other"
    )
    first_frame: Strength = setting(2, "off: 1 where of an animation one frame was read")
    other: dict[str, float] = setting({}, "for codes of one's own stages; 0.5 where not given")

    def changed_by(self, own: "Thresholds") -> "Thresholds":
        """These, with what is set in `own` instead; what is not set there stays as it is here."""
        names = set(Thresholds.model_fields)
        changed = own.model_dump(include=names, exclude_unset=True)
        other = {**self.other, **own.other}
        return Thresholds(**{**self.model_dump(include=names), **changed, "other": other})


class SonnetThresholds(Thresholds):
    """The same for the second tier, where the next to be asked is a person.

    What a person could not settle either, or what the stronger model is there for, is left out.
    """

    low_confidence: Strength = setting(0.5, "1 - the stated confidence")
    runner_up_close: Strength = setting(2, "off: Sonnet's choice stands")
    several_matters: Strength = setting(2, "off: Sonnet's choice stands")
    missing_field: Strength = setting(2, "off: the document lacks it")
    implausible: Strength = setting(0.9, "values that do not exist at all")
    unknown_language: Strength = setting(2, "off: Sonnet is who takes these")
    out_of_scope: Strength = setting(2, "off: Sonnet says `unclear` where it is")
    document_contradicts: Strength = setting(
        2, "off: Sonnet's answer is held to the document as any other"
    )
    unsupported_claim: Strength = setting(
        0.7, "dates and passages in quotation marks; a name alone is not for a person"
    )
    second_opinion: Strength = setting(2, "off: Sonnet is asked once")
    long_input: Strength = setting(2, "off: Sonnet is who takes long texts")
    suspected_injection: Strength = setting(2, "off: Sonnet is who takes these")


class TierThresholds(Thresholds):
    """Of both tiers: Haiku's at the top of the table, Sonnet's below `sonnet`."""

    sonnet: SonnetThresholds = setting(SonnetThresholds(), "what sends Sonnet's answer to review")

    def of(self, tier: Tier) -> Thresholds:
        return self.sonnet if tier is Tier.SONNET else self


class StageThresholds(TierThresholds):
    """What is different in one stage."""

    labels: dict[str, TierThresholds] = setting(
        {}, "by label, without regard to case: what is different"
    )


class ThresholdTable(TierThresholds):
    """What sends Haiku's answer to Sonnet and, in `sonnet`, Sonnet's to review.

    Each number is the strength of a signal, mostly 0 to 1, from which it is a doubt; above 1:
    never. [ESCALATION.md](ESCALATION.md) explains the signals, and how a stage or a label gets
    thresholds of its own.
    """

    stages: dict[str, StageThresholds] = setting(
        {},
        "by stage: what is different there; `labels.<label>` in it: what is different "
        "where that label was chosen. Both have a table `sonnet` of their own",
    )
