"""Making the certificate of a stage from labelled answers. Pure.

Only answers that what is in force today made are counted: with the same settings, and of each tier
by the model that answered last. Statements are tested one after the other, Haiku's answers first,
then all that is published, then Sonnet's: each may use all of the error that the trial is permitted
as long as those before it hold, and what comes after the first that fails is not certified.

The error of all trials together is at most `ErrorBudget().alpha`: a trial's number follows from the
ledger in the file. What labels that are judged as they come say of the same thing may be looked at
as often as anybody likes; that is one trial.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from pipeline.model.errors import UsageError
from pipeline.model.records import Tier
from pipeline.trust.certificate_file import (
    AnsweredBy,
    CertifiedStage,
    DependsOn,
    InForce,
    LabelsWindow,
    Reference,
    Scope,
    StageCertificate,
    Statement,
    TierThresholds,
    Trial,
)
from pipeline.trust.certificates import ErrorBudget, Verdict, judge, upper_bound
from pipeline.trust.distance import Tally
from pipeline.trust.labelling import verdict_on
from pipeline.trust.records import LabelledAnswer, SampledAnswer

ORDER: tuple[Scope, ...] = ("haiku", "stream", "sonnet")
"""In which statements are tested; set beforehand, whatever the labels say."""
STRICTER_ACCEPTS = 0.8
"""Share of what Haiku's tier published in the window that the stricter thresholds accept as well.
So an alarm costs at most a call to Sonnet for every fifth of these events."""
LOW_CONFIDENCE = "low_confidence"


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be certified.

    Args:
        in_force: What the stage runs with.
        made_with: `provenance.settings` of the answers that it makes.
        at_once: The number of labels was set before the first one.
        source: Where the labels came from, for a person.
    """

    stage: str
    target: float
    in_force: InForce
    made_with: str
    at_once: bool
    source: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Counted:
    """An answer that counts, and the verdict on it."""

    answer: SampledAnswer
    verdict: Verdict


def issue(
    wish: Wish, labelled: Sequence[LabelledAnswer], before: CertifiedStage | None
) -> CertifiedStage:
    """Try to certify a stage: the certificate, if there is one, and the ledger with this trial.

    A trial that certifies nothing leaves the certificate of `before` as it is.

    Raises:
        UsageError: The target is no share, or no labelled answer can be counted.
    """
    if not 0 < wish.target < 1:
        raise UsageError("Set --target, the share that shall be right, between 0 and 1.")
    counted, left_out = _counted(wish, labelled)
    answers, seen = [each.answer for each in counted], _seen(counted, labelled)
    depends_on = DependsOn(
        settings=wish.in_force.settings,
        thresholds=dict(wish.in_force.thresholds),
        answered_by=_answered_by(answers),
        signal_codes=sorted({signal.code for each in answers for signal in each.signals}),
    )
    number, looks = _trial(wish, depends_on, () if before is None else before.trials)
    alpha = ErrorBudget().of_trial(number)
    statements = _statements(wish, counted, alpha)
    holds = statements[0].holds
    trial = Trial(
        number=number,
        at=wish.at,
        looks=looks,
        alpha=alpha,
        target=wish.target,
        method=statements[0].method,
        depends_on=depends_on.identity,
        labels=len(counted),
        errors=sum(each.verdict.is_wrong for each in counted),
        holds=holds,
    )
    trials = [] if before is None else [each for each in before.trials if each.number != number]
    if not holds:
        kept = None if before is None else before.certificate
        return CertifiedStage(certificate=kept, trials=[*trials, trial])
    published = [each.published_at for each in answers]
    certificate = StageCertificate(
        target=wish.target,
        alpha=alpha,
        issued_at=wish.at,
        statements=statements,
        depends_on=depends_on,
        labels=LabelsWindow(
            source=wish.source,
            sha256=_digest(counted),
            first=min(published),
            last=max(published),
            left_out=left_out,
        ),
        reference=_reference(counted, seen),
        stricter=stricter(wish.in_force.thresholds, seen),
    )
    return CertifiedStage(certificate=certificate, trials=[*trials, trial])


def _counted(wish: Wish, labelled: Sequence[LabelledAnswer]) -> tuple[list[Counted], int]:
    """What counts, in the order of publication, and how many labelled answers do not."""
    mine = [each for each in labelled if each.answer.stage == wish.stage and each.labels]
    if not mine:
        raise UsageError(f"{wish.source} has no labelled answers of {wish.stage}: label some.")
    verdicts = [(each.answer, verdict_on(each.answer, each.labels)) for each in mine]
    weighable = [Counted(answer, verdict) for answer, verdict in verdicts if verdict is not None]
    if not weighable:
        raise UsageError(
            f"No label of {wish.stage} in {wish.source} says with which chance it was given, so "
            "that no share can be estimated: label drawn answers with `pipeline review sample`."
        )
    now = [each for each in weighable if each.answer.provenance.settings == wish.made_with]
    if not now:
        raise UsageError(
            f"None of the {len(weighable):,} labelled answers of {wish.stage} in {wish.source} was "
            "made with the settings in force here: certify with the pipeline.toml that the stage "
            "runs with, or label answers of today."
        )
    now.sort(key=lambda each: each.answer.published_at)
    # Who answers today: what an earlier model or another place said is no proof of it.
    newest = {each.answer.decided_by: _by(each.answer) for each in now}
    counted = [each for each in now if newest[each.answer.decided_by] == _by(each.answer)]
    return counted, len(mine) - len(counted)


def _by(answer: SampledAnswer) -> tuple[str, str]:
    return answer.provenance.provider, answer.model


def _answered_by(answers: Iterable[SampledAnswer]) -> dict[Tier, AnsweredBy]:
    prompts: dict[tuple[Tier, str, str], set[str]] = {}
    for each in answers:
        prompts.setdefault((each.decided_by, *_by(each)), set()).add(each.provenance.prompt)
    return {
        tier: AnsweredBy(provider=provider, model=model, prompts=sorted(found))
        for (tier, provider, model), found in sorted(prompts.items())
    }


def _trial(wish: Wish, depends_on: DependsOn, trials: Sequence[Trial]) -> tuple[int, int]:
    """The number of this trial, and which look it is."""
    for each in trials:
        is_same = each.depends_on == depends_on.identity and each.target == wish.target
        if is_same and each.method == "as they come" and not wish.at_once:
            return each.number, each.looks + 1
    return 1 + max((each.number for each in trials), default=0), 1


def _statements(wish: Wish, counted: Sequence[Counted], alpha: float) -> list[Statement]:
    risk = round(1 - wish.target, 12)
    found: list[Statement] = []
    for scope in ORDER:
        verdicts = [
            each.verdict for each in counted if scope in {"stream", each.answer.decided_by.value}
        ]
        if not verdicts:
            continue
        finding = judge(verdicts, risk, at_once=wish.at_once)
        is_exact = finding.method == "exact"
        found.append(
            Statement(
                scope=scope,
                method=finding.method,
                labels=finding.labels,
                keys=finding.keys,
                errors=finding.errors,
                estimate=min(1.0, finding.estimate),
                upper=upper_bound(finding.errors, finding.labels, alpha) if is_exact else None,
                p_value=min(1.0, finding.p_value),
                holds=finding.certifies(alpha) and all(each.holds for each in found),
            )
        )
    return found


Seen = Sequence[tuple[SampledAnswer, float]]
"""Answers, and with which chance each came to be among them."""


def _seen(counted: Sequence[Counted], labelled: Sequence[LabelledAnswer]) -> Seen:
    """What answers of the window look like: by all that were drawn, where those are there.

    Else by those that were labelled, which may have been chosen for being doubtful.
    """
    if all(each.labels for each in labelled):
        return [(each.answer, each.verdict.chance) for each in counted]
    like = {(each.answer.decided_by, *_by(each.answer)) for each in counted}
    first, made_with = counted[0].answer.published_at, counted[0].answer.provenance.settings
    return [
        (each.answer, each.answer.chance)
        for each in labelled
        if each.answer.stage == counted[0].answer.stage
        and each.answer.provenance.settings == made_with
        and each.answer.published_at >= first
        and (each.answer.decided_by, *_by(each.answer)) in like
    ]


def _reference(counted: Sequence[Counted], seen: Seen) -> Reference:
    tally = Tally()
    for answer, chance in seen:
        tally.add(answer, chance)
    return tally.reference(min(each.verdict.chance for each in counted))


def stricter(
    thresholds: Mapping[Tier, TierThresholds], answers: Seen
) -> dict[Tier, TierThresholds]:
    """Thresholds that doubt the least sure answers of the first tier, a fifth of them at most."""
    unsure: dict[float, float] = {}
    for each, chance in answers:
        if each.decided_by is Tier.HAIKU:
            said = (one.strength for one in each.signals if one.code == LOW_CONFIDENCE)
            strength = max(said, default=0.0)
            unsure[strength] = unsure.get(strength, 0.0) + 1 / chance
    total, accepted, cut = sum(unsure.values()), 0.0, None
    for strength in sorted(unsure):
        if accepted >= STRICTER_ACCEPTS * total > 0:
            cut = strength
            break
        accepted += unsure[strength]
    if cut is None:
        return dict(thresholds)
    haiku = thresholds[Tier.HAIKU]

    def lowered(codes: Mapping[str, float]) -> dict[str, float]:
        return {**codes, LOW_CONFIDENCE: min(cut, codes.get(LOW_CONFIDENCE, cut))}

    changed = TierThresholds(
        default=lowered(haiku.default),
        labels={label: lowered(codes) for label, codes in haiku.labels.items()},
    )
    return {**thresholds, Tier.HAIKU: changed}


def _digest(counted: Sequence[Counted]) -> str:
    digest = hashlib.sha256()
    for each in counted:
        verdict = each.verdict
        line = f"{each.answer.event_id}/{each.answer.part}/{verdict.is_wrong}/{verdict.chance}\n"
        digest.update(line.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
