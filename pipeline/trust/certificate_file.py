"""The certificate as a file, and whether what runs is what it certifies. Pure.

One file holds several stages. For each it says what is certified and how sure that is, what it
depends on, which part of the permitted error each trial used up, and what answers looked like in
the window of time that was labelled, so that a change can be seen.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import orjson
from pydantic import Field, ValidationError

from pipeline.model.errors import UsageError
from pipeline.model.records import Count, Record, Tier, Timestamp
from pipeline.trust.certificates import Method, upper_bound

Share = Annotated[float, Field(ge=0, le=1)]
Scope = Literal["haiku", "sonnet", "stream"]
"""What a statement is about: what one tier decided, or all that is published."""
Reason = Literal["settings", "thresholds", "provider", "model", "prompt", "alarm"]
"""Why a certificate is stale: which of the things it depends on is another one."""
Codes = dict[str, float]
SHARE_ALPHA = 0.005
_DIGITS = 16


class TierThresholds(Record):
    """All thresholds of a tier, by code, and all of those labels that have their own."""

    default: Codes
    labels: dict[str, Codes] = Field(default={})


class Statement(Record):
    """At least `target` of what the scope says is right, if it `holds`."""

    scope: Scope
    method: Method
    labels: Count
    keys: Count
    errors: Count
    estimate: Share = Field(description="Share of errors, each label weighed by its chance.")
    upper: Share | None = Field(
        description="Upper bound of that share; null where labels are judged as they come."
    )
    p_value: Share
    holds: bool


class AnsweredBy(Record):
    """Who really answered in a tier, and which prompts were answered."""

    provider: str
    model: str
    prompts: list[str] = Field(min_length=1)


class DependsOn(Record):
    """What the statements are about; with anything else they say nothing."""

    settings: str = Field(
        description="Digest of all settings of the stage but its thresholds, and of the version."
    )
    thresholds: dict[Tier, TierThresholds]
    answered_by: dict[Tier, AnsweredBy]
    signal_codes: list[str]

    @property
    def identity(self) -> str:
        """A digest of what makes another attempt: more labels bring more prompts and codes."""
        who = {tier.value: (by.provider, by.model) for tier, by in self.answered_by.items()}
        thresholds = {tier.value: each.model_dump() for tier, each in self.thresholds.items()}
        return _digest([self.settings, thresholds, who])


class Trial(Record):
    """One attempt to certify the stage, and the error that was permitted to it."""

    number: int = Field(ge=1)
    at: Timestamp
    looks: int = Field(
        ge=1, description="Labels that are judged as they come may be looked at again for nothing."
    )
    alpha: Share
    target: Share
    method: Method
    depends_on: str = Field(description="Digest of what was tried.")
    labels: Count
    errors: Count
    holds: bool


class LabelsWindow(Record):
    """Where the labels came from."""

    source: str
    sha256: str = Field(description="Of the answers and verdicts that were counted.")
    first: Timestamp = Field(description="When the first of the answers was published.")
    last: Timestamp
    left_out: Count = Field(
        description="Labelled answers that were made with other settings, or by another model."
    )


class Reference(Record):
    """What answers looked like in the window: shares of the drawn ones, weighed by their chance.

    `signals` are of what the first tier decided: by code the shares of `STRENGTHS`; `labels` are
    the chosen ones. `answers` is how many equally weighed ones would say as much (Kish).
    """

    answers: float = Field(ge=0)
    signals: dict[str, list[Share]]
    signals_answers: float = Field(ge=0)
    labels: dict[str, Share]
    by_sonnet: Share = Field(description="Share that the second tier decided.")
    smallest_chance: float = Field(gt=0, le=1, description="With which any of them was labelled.")

    @property
    def bounds_of_sonnet(self) -> tuple[float, float]:
        """Between which shares the second tier decides, as surely as `SHARE_ALPHA` on each side."""
        items = max(1, round(self.answers))
        mine = min(items, round(self.by_sonnet * items))
        lower = 1 - upper_bound(items - mine, items, SHARE_ALPHA)
        return lower, upper_bound(mine, items, SHARE_ALPHA)


class StageCertificate(Record):
    """What is certified of one stage."""

    target: Share
    alpha: Share = Field(description="How often such a statement may be wrong, in this trial.")
    issued_at: Timestamp
    statements: list[Statement]
    depends_on: DependsOn
    labels: LabelsWindow
    reference: Reference
    stricter: dict[Tier, TierThresholds] = Field(
        description="What an alarm falls back to where the certified thresholds are in force."
    )

    @property
    def id(self) -> str:
        """Names the certificate: a digest of it."""
        return digest_of(self)

    @property
    def held(self) -> frozenset[str]:
        """The scopes whose statement holds."""
        return frozenset(each.scope for each in self.statements if each.holds)


class CertifiedStage(Record):
    """The certificate of a stage, if any attempt came to one, and the ledger of all attempts."""

    certificate: StageCertificate | None
    trials: list[Trial]


class CertificateFile(Record):
    """The file that `[trust] certificate` names."""

    schema_: Literal["trust.certificate/1"] = Field("trust.certificate/1", alias="schema")
    stages: dict[str, CertifiedStage] = Field(default={})

    def of(self, stage: str) -> StageCertificate | None:
        found = self.stages.get(stage)
        return None if found is None else found.certificate

    def trials(self, stage: str) -> Sequence[Trial]:
        found = self.stages.get(stage)
        return () if found is None else found.trials


def digest_of(record: Record) -> str:
    """A digest that depends on nothing but the content."""
    return _digest(record.model_dump(mode="json", by_alias=True))


def _digest(content: object) -> str:
    dumped = orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(dumped).hexdigest()[:_DIGITS]


def read_certificates(path: Path, *, may_be_missing: bool = False) -> CertificateFile:
    """Read the file; without one an empty one, where it `may_be_missing`.

    Raises:
        UsageError: It cannot be read, or is not a certificate file of this version.
    """
    try:
        return CertificateFile.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        if may_be_missing:
            return CertificateFile()
        raise UsageError(
            f"There is no certificate {path}: `pipeline trust certify STAGE --out {path}` makes "
            "one; else unset trust.certificate."
        ) from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}): name another.") from error
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, fault["loc"])) or "the file"
        raise UsageError(
            f"{path} is not a certificate file of this version: {where}: {fault['msg']}."
        ) from None


@dataclass(frozen=True, slots=True)
class InForce:
    """What a process runs a stage with: the same parts that a certificate depends on."""

    settings: str
    thresholds: Mapping[Tier, TierThresholds]


def differences(certified: DependsOn, in_force: InForce) -> tuple[Reason, ...]:
    """Which parts that are known before anything is asked are others than the certified ones."""
    found: list[Reason] = []
    if certified.settings != in_force.settings:
        found.append("settings")
    if certified.thresholds != dict(in_force.thresholds):
        found.append("thresholds")
    return tuple(found)


def differing_thresholds(
    certified: Mapping[Tier, TierThresholds], in_force: Mapping[Tier, TierThresholds]
) -> list[str]:
    """A phrase for each threshold that is another than the certified one."""
    found = []
    for tier, then in certified.items():
        now = in_force[tier]
        for label in ("", *sorted({*then.labels, *now.labels})):
            before = then.labels.get(label, then.default) if label else then.default
            after = now.labels.get(label, now.default) if label else now.default
            of = f" of {label}" if label else ""
            found += [
                f"{tier}'s {code}{of} is {after.get(code)}, certified {before.get(code)}"
                for code in sorted({*before, *after})
                if before.get(code) != after.get(code)
            ]
    return found


def answered_otherwise(
    certified: DependsOn, tier: Tier, *, provider: str, model: str, prompt: str
) -> tuple[Reason, ...]:
    """Which parts of who answered, and to what, are others than the certified ones."""
    by = certified.answered_by.get(tier)
    if by is None:
        return ("model",)
    found: list[Reason] = []
    if provider != by.provider:
        found.append("provider")
    if model != by.model:
        found.append("model")
    if prompt not in by.prompts:
        found.append("prompt")
    return tuple(found)
