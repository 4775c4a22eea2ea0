"""When an answer is not good enough: signals and thresholds in, doubts out. Pure.

Every code of a doubt is in docs/ESCALATION.md.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from pydantic_core import to_json

import pipeline
from pipeline.claude.billing import PriceTable
from pipeline.claude.workloads import price_ratio
from pipeline.config import (
    Settings,
    SonnetThresholds,
    StageSettings,
    StageThresholds,
    Thresholds,
)
from pipeline.model.errors import (
    AnswerError,
    FileUnavailable,
    Malformed,
    NoRoom,
    Refused,
    TruncatedResponse,
    Unanswered,
    UsageError,
)
from pipeline.model.questions import Image, Query, Signal, first_questions
from pipeline.model.records import Doubt, Tier
from pipeline.stages.api import Answer, Rewording, Stage
from pipeline.trust.certificate_file import InForce, TierThresholds
from pipeline.trust.score import HARD, Score, read_score

AUDIT = "audit"
SCORE = "score"
SECOND_OPINION = "second_opinion"
TROUBLES = frozenset({"call_failed", "file_unavailable"})
"""The codes of events that failed again and again while others did not."""
FAILURES = frozenset({"refused", "cut_off", "malformed"}) | TROUBLES
"""The codes of an answer that never came."""
DEFAULT_THRESHOLD = 0.5
"""For a code that has no threshold of its own."""
LIFTED = frozenset({"low_confidence", "runner_up_close"})
"""What an answer says of itself in numbers: a second opinion that agrees is worth more."""
ABOVE, BELOW = 0.5, 0.85
"""The grey band: stated confidences from here to less than there. Above it hardly an answer is
doubted for its confidence; below it an answer goes on at once."""
MAX_ATTEMPTS = 2
LARGEST_LIMIT = 20_000
"""Output tokens. Above about 21,000 a request needs streaming."""
_CODES_OF_FAILURES = (
    (Refused, "refused"),
    (TruncatedResponse, "cut_off"),
    (Unanswered, "call_failed"),
    (FileUnavailable, "file_unavailable"),
)
_AUDIT_BITS = 64
_USUAL_SHARE = Decimal("0.2")
"""Escalated, of all events; for asking whether a cascade is cheaper than Sonnet alone."""
_DECIMALS = 6
"""So that a confidence of 0.8 reaches a threshold of 0.2 in binary fractions, too."""


@dataclass(frozen=True, slots=True)
class StagePolicy:
    """When one tier's answers of one stage are doubted.

    `of_label` is what is different where a label was chosen, without regard to case. `audit_share`
    of the keys are doubted whatever the answer is. With `second_opinion` the same tier is asked
    again where its answer is unsure. With `evidence` it is said where its values were read.
    `settings` is the digest of all that is set about it. With a `score` an answer is doubted from
    the probability `max_risk` on that it is wrong; what the score does not know, what it may not
    outweigh (`beside_score` is of that), and what is set for a label count as without it.
    """

    thresholds: Thresholds
    of_label: Mapping[str, Thresholds] = field(default_factory=dict)
    audit_share: float = 0.0
    second_opinion: bool = False
    evidence: bool = False
    settings: str = ""
    score: Score | None = None
    max_risk: float = 1.0
    beside_score: frozenset[str] = frozenset()

    def by_rule(self) -> "StagePolicy":
        """The same without a score: for what is no answer of the stage's own question."""
        return self if self.score is None else replace(self, score=None)

    def thresholds_of(self, label: str | None) -> Mapping[str, float]:
        """By code, `DEFAULT_THRESHOLD` aside, for answers that chose this label."""
        own = self.of_label.get(label.casefold()) if label is not None else None
        found = self.thresholds if own is None else self.thresholds.changed_by(own)
        return {**vars(found), "other": DEFAULT_THRESHOLD, **found.other}

    def doubts(self, signals: Iterable[Signal], *, label: str | None = None) -> tuple[Doubt, ...]:
        """Why an answer that chose this label is not accepted; empty where it is.

        A signal counts where its strength is above 0 and reaches its threshold. A failure to answer
        always counts: there is nothing that could be accepted. The strongest comes first, in an
        order that depends on nothing else.
        """
        thresholds, signals = self.thresholds_of(label), tuple(signals)
        counting = {
            each
            for each in signals
            if each.code in FAILURES
            or 0 < each.strength >= thresholds.get(each.code, DEFAULT_THRESHOLD)
        }
        score, found = self.score, tuple[Doubt, ...]()
        if score is not None:
            own = self.of_label.get(label.casefold()) if label is not None else None
            decided = frozenset() if own is None else own.model_fields_set | own.other.keys()
            weighed = frozenset(score.codes) - HARD - FAILURES - decided - self.beside_score
            counting = {each for each in counting if each.code not in weighed}
            found = self._scored(score, signals)
        ordered = sorted(counting, key=lambda each: (-each.strength, each.code, each.detail))
        return tuple(Doubt(code=each.code, detail=each.detail) for each in ordered) + found

    def _scored(self, score: Score, signals: Sequence[Signal]) -> tuple[Doubt, ...]:
        p_wrong = score.p_wrong(signals)
        if p_wrong < self.max_risk:
            return ()
        because = ", ".join(score.strongest(signals)) or "nothing by itself"
        likely = f"Wrong with a probability of {p_wrong:.2f}, from {self.max_risk:.2f} on doubted"
        return (Doubt(code=SCORE, detail=f"{likely}; most speaks: {because}."),)

    def as_certified(self) -> TierThresholds:
        """All thresholds, as a certificate holds them."""
        return TierThresholds(
            default=dict(self.thresholds_of(None)),
            labels={label: dict(self.thresholds_of(label)) for label in sorted(self.of_label)},
        )

    def falling_back_to(
        self, certified: TierThresholds, *, with_score: bool = True
    ) -> "StagePolicy":
        """The same with other thresholds; the records that it decides about say so.

        Of those that are stricter a score outweighs none. Without it they are all that counts.
        """
        mine = self.thresholds_of(None)
        stricter = {code for code, each in certified.default.items() if each < mine.get(code, 0.0)}
        digest = hashlib.sha256(f"{self.settings} {certified.model_dump_json()}".encode())
        return replace(
            self,
            thresholds=_thresholds(certified.default),
            of_label={label: _thresholds(codes) for label, codes in certified.labels.items()},
            settings=digest.hexdigest()[:16],
            score=self.score if with_score else None,
            beside_score=frozenset(stricter),
        )


def _thresholds(codes: Mapping[str, float]) -> Thresholds:
    known = Thresholds.model_fields.keys() - {"other"}
    own = {code: strength for code, strength in codes.items() if code not in {*known, "other"}}
    return Thresholds(**{code: codes[code] for code in known & codes.keys()}, other=own)


_DEFAULTS: Mapping[Tier, StagePolicy] = MappingProxyType(
    {Tier.HAIKU: StagePolicy(Thresholds()), Tier.SONNET: StagePolicy(SonnetThresholds())}
)


class Policy(dict[tuple[str, Tier], StagePolicy]):
    """When answers are doubted, by stage and tier; what is not there has its tier's defaults."""

    def __missing__(self, stage_and_tier: tuple[str, Tier]) -> StagePolicy:
        return _DEFAULTS[stage_and_tier[1]]

    @classmethod
    def from_settings(
        cls, settings: Settings, *, second_opinions: Collection[str] = ()
    ) -> "Policy":
        """Take what is set; `second_opinions` are the stages that have them (`policy_of`)."""
        found = cls()
        for name, stage in settings.stages.by_name().items():
            digest = settings_digest(settings, name)
            for tier in Tier:
                found[name, tier] = replace(
                    rule_of(settings, name, tier), evidence=stage.evidence, settings=digest
                )
            found[name, Tier.HAIKU] = replace(
                found[name, Tier.HAIKU],
                audit_share=stage.audit_share,
                second_opinion=name in second_opinions,
            )
            if (score := score_of(settings, name)) is not None:
                risk = score.whole.threshold if stage.max_risk is None else stage.max_risk
                found[name, Tier.HAIKU] = replace(
                    found[name, Tier.HAIKU], score=score, max_risk=risk
                )
        return found


def rule_of(settings: Settings, name: str, tier: Tier) -> StagePolicy:
    """A stage's thresholds alone, whatever score is set."""
    own = settings.thresholds.stages.get(name, StageThresholds())
    return StagePolicy(
        settings.thresholds.of(tier).changed_by(own.of(tier)),
        {label.casefold(): changes.of(tier) for label, changes in own.labels.items()},
    )


def asks_of(stage: StageSettings) -> str:
    """Digest of the labels and further fields that a stage asks for: a score is fitted to them."""
    labels = sorted(each.name.casefold() for each in stage.deciding_labels())
    fields = sorted(each.name for each in getattr(stage, "fields", ()))
    return hashlib.sha256(to_json([labels, fields])).hexdigest()[:16]


def score_of(settings: Settings, name: str) -> Score | None:
    """The score that is set for a stage's first answers.

    Raises:
        UsageError: It cannot be read, was fitted to something else, or a risk is set without it.
    """
    stage = settings.stages.by_name()[name]
    if stage.score is None:
        if stage.max_risk is not None:
            raise UsageError(f"stages.{name}.max_risk needs stages.{name}.score.")
        return None
    score, again = read_score(stage.score), f"Fit it again: pipeline trust fit {name}."
    if score.stage != name:
        raise UsageError(f"stages.{name}.score: it was fitted to {score.stage}. {again}")
    if score.asks != asks_of(stage):
        raise UsageError(
            f"stages.{name}.score: it was fitted to other labels or fields than are set. {again}"
        )
    known = {*Thresholds.model_fields, *settings.thresholds.other, *FAILURES}
    known |= settings.thresholds.stages.get(name, StageThresholds()).other.keys()
    strange = sorted(set(score.codes) - known)
    if strange and name not in settings.stages.own:
        raise UsageError(
            f"stages.{name}.score: no signal is called {', '.join(strange)} any more. {again}"
        )
    return score


_DECIDE_NOTHING: Any = {
    **dict.fromkeys(
        ("budget_usd_per_hour", "budget_usd_per_day", "ordering", "output", "evidence", "score"),
        True,
    ),
    "input": {"topics", "pattern"},
}
"""Settings of a stage that change no answer, and nothing of what becomes of it; of a score counts
what is in the file, not where that is."""
_ENDPOINT = {"model": True, "provider": True, "inference_geo": True}
_ASKED: Any = {**_ENDPOINT, "fallback": _ENDPOINT}
"""Which model is asked where; how it is reached there changes no answer."""


def settings_digest(settings: Settings, *stages: str, with_thresholds: bool = True) -> str:
    """Of all settings that decide about the answers of some stages; the same in every process."""
    sections, table = settings.stages.by_name(), settings.thresholds
    decisive = (
        {name: sections[name].model_dump(mode="json", exclude=_DECIDE_NOTHING) for name in stages},
        table.model_dump(mode="json", exclude={"stages"}) if with_thresholds else None,
        {name: table.stages[name] for name in stages if name in table.stages and with_thresholds},
        settings.models.model_dump(include={"haiku": _ASKED, "sonnet": _ASKED}),
        settings.claude.haiku_effort,
        settings.claude.sonnet_effort,
        settings.escalation.scope,
        {name: settings.escalation.second_opinion.get(name) for name in stages},
        {name: str(settings.privacy.masking().rules(name)) for name in stages},
        settings.privacy.files,
        pipeline.__version__,
        *(
            (name, score.digest)
            for name in stages
            if (score := score_of(settings, name)) is not None
        ),
    )
    return hashlib.sha256(to_json(decisive)).hexdigest()[:16]


def in_force(settings: Settings, policy: Policy, stage: str) -> InForce:
    """What a certificate of the stage depends on, of what is known before anything is asked."""
    return InForce(
        settings_digest(settings, stage, with_thresholds=False),
        {tier: policy[stage, tier].as_certified() for tier in Tier},
    )


def policy_of(settings: Settings, stages: Mapping[str, Stage[Any, Any]]) -> Policy:
    """The policy that is set, with second opinions where they pay at the prices that are set."""
    verdicts = opinions(settings, stages)
    return Policy.from_settings(
        settings, second_opinions={name for name, verdict in verdicts.items() if verdict.pays}
    )


# What an answer says of itself: worth something, and never enough alone.


def statement_signals(answer: Answer) -> tuple[Signal, ...]:
    """Weigh the stated confidence and `unclear`.

    A schema cannot hold a model to a range. A confidence outside 0 to 1 was stated on some other
    scale, so it says nothing, which is the strongest signal.
    """
    confidence = answer.confidence
    if 0 <= confidence <= 1:
        strength, stated = round(1 - confidence, _DECIMALS), f"{confidence:.2f}"
    else:
        strength, stated = 1.0, f"{confidence:g}, of 0 to 1"
    doubt = Signal("low_confidence", strength, f"Stated confidence: {stated}.")
    unclear = Signal("unclear", 1.0, "The model says that the content does not settle it.")
    return (doubt, unclear) if answer.unclear else (doubt,)


def first_frame_signals(query: Query[Any]) -> tuple[Signal, ...]:
    """Say that of an animation one frame was seen."""
    for question in first_questions(query):
        if any(isinstance(part, Image) and part.is_animated for part in question.parts):
            detail = "The file is an animation: its first frame alone was read."
            return (Signal("first_frame", 1.0, detail),)
    return ()


# The random sample that the second tier answers whatever the first one said: it shows how often the
# two disagree about an answer that was trusted. Chosen by a hash, so that an event that is handled
# again after a restart is chosen again, and that the records alone show which were chosen.


def audit_doubts(stage: str, event_id: str, at: datetime, share: float) -> tuple[Doubt, ...]:
    """The doubt that sends an event on that is in the sample; empty where it is not.

    Chosen is each event by itself, never its key: of 50 keys with as many events each, a share of
    1 % would choose none in most installations, and for good. `at` is the raw record's timestamp,
    so that an id which is published again and again is not chosen each time, or never. Each stage
    has a sample of its own.
    """
    salt = hashlib.blake2b(stage.encode(), digest_size=hashlib.blake2b.SALT_SIZE).digest()
    drawn = b"%s %s" % (event_id.encode("utf-8", "surrogatepass"), at.isoformat().encode())
    digest = hashlib.blake2b(drawn, digest_size=_AUDIT_BITS // 8, person=b"audit", salt=salt)
    if int.from_bytes(digest.digest(), "big") >= int(share * 2**_AUDIT_BITS):
        return ()
    return (Doubt(code=AUDIT, detail="Chosen at random, whatever the answer was."),)


# Calls that gave no usable answer: whether to repeat them, and the signal that there is none.


def limit_for_repetition(failure: AnswerError, *, attempt: int, limit: int) -> int | None:
    """The output limit of another call to the same model; None where there is to be none.

    An answer that was cut off gets twice the room, once, unless the context itself was full. A
    malformed one is asked for once more. A refusal is final: the same request would be refused
    again. So is what was tried again and again already. `attempt` counts the calls so far, from 1.
    """
    if attempt >= MAX_ATTEMPTS or isinstance(failure, NoRoom):
        return None
    if isinstance(failure, TruncatedResponse) and limit < LARGEST_LIMIT:
        return min(2 * limit, LARGEST_LIMIT)
    return limit if isinstance(failure, Malformed) else None


def signal_of(failure: AnswerError) -> Signal:
    codes = (code for kind, code in _CODES_OF_FAILURES if isinstance(failure, kind))
    return Signal(next(codes, "malformed"), 1.0, failure.detail)


# A second opinion of the first tier, where its answer is neither sure nor hopeless. Models give no
# probabilities and take no temperature, so the same question would get the same answer. Asked in
# other words, with the labels in another order, an answer that was luck tends to change. What that
# is worth is measured by `pipeline evaluate`; whether it can pay at all follows from the prices.


def is_wanted(*, confidence: float, doubts: Iterable[Doubt]) -> bool:
    """Whether a second opinion could change what becomes of an answer of these doubts.

    Where one of them would stay, it is escalated whatever is said twice.
    """
    return ABOVE <= confidence < BELOW and all(doubt.code in LIFTED for doubt in doubts)


def weighed(signals: Iterable[Signal], differences: Collection[str]) -> tuple[Signal, ...]:
    """The signals against a first answer, once there is a second one.

    `differences` are the deciding fields in which the second one differs; with none the two agree,
    and what the first said of itself in numbers counts no more.
    """
    if differences:
        detail = f"A second answer disagrees: {', '.join(differences)}."
        return (*signals, Signal(SECOND_OPINION, 1.0, detail))
    return tuple(signal for signal in signals if signal.code not in LIFTED)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether second opinions pay, and why, in a sentence."""

    pays: bool
    because: str


def whether_it_pays(ratio: Decimal | None, spares: float) -> Verdict:
    """Compare what a second opinion costs with what it saves, at the prices of the day.

    `ratio` is the price of a call to the first model as a multiple of one to the second, None where
    it is not known; `spares` the share of second opinions that spare a call to the second model.
    """
    if ratio is None:
        return Verdict(pays=False, because="the price of a model is not known")
    twice, saved = 2 * ratio + _USUAL_SHARE, Decimal(str(spares))
    if twice >= 1:
        asked = "asking the first model twice and the second about every fifth event"
        return Verdict(pays=False, because=f"{asked} costs {twice:.2f} of asking the second alone")
    cost = f"it costs {ratio:.2f} of a call to the second model"
    return Verdict(ratio < saved, f"{cost} and is expected to spare {saved:.2f} of one")


def opinions(settings: Settings, stages: Mapping[str, Stage[Any, Any]]) -> Mapping[str, Verdict]:
    """Whether a second opinion pays, by stage that is set to have it."""
    models = settings.models
    prices = PriceTable(settings.claude.prices)
    ratio = price_ratio(prices, models.haiku.model, models.sonnet.model)
    return {
        name: whether_it_pays(ratio, spares)
        if isinstance(stages[name], Rewording)
        else Verdict(pays=False, because="the stage has no second wording")
        for name, spares in settings.escalation.second_opinion.items()
    }
