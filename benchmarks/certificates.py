"""How often certificates and alarms are right, on labels of which the truth is known.

`python -m benchmarks.certificates` draws labels for each way to certify that at most 5 % of
accepted answers are wrong: looked at once; a file that grows and is looked at thirty times; ten
prompts on one file; keys with 5, 10 and 25 labels that are alike. Where 5 % are wrong in truth, no
way may certify in more than 5 of 100 runs; the naive one beside it, which looks at each as if it
were the only one, shows what that costs. Then how many labels certify what holds, and how soon an
alarm sees a risk that rises. Prints tables, the goals, and one JSON object as its last line;
20,000 runs take some minutes, `--runs` sets another number.
"""

import random
import statistics
import sys
from collections.abc import Callable, Mapping
from functools import cache

from benchmarks.goals import Goal, Part, Table, at_least, at_most
from benchmarks.report import conclude, parser
from pipeline.trust.certificates import Bet, ErrorBudget, errors_allowed, labels_needed
from pipeline.trust.drift import RUN_LENGTH, Detector
from pipeline.trust.live import Bound

RISK, ALPHA = 0.05, 0.05
RUNS = 20_000
LABELS = 600
"""Of a file that is looked at once, or has grown."""
LOOKS = 30
PROMPTS = 10
CLUSTERS = (5, 10, 25)
TRUTHS = (0.99, 0.98)
RISEN = (0.10, 0.15, 0.25)
_MOST_LABELS = 5_000
_SPARE = 0.005
"""What chance may add to a share of 20,000 runs: three standard deviations of one of 5 %."""


@cache
def allowed(labels: int, alpha: float) -> int:
    """Errors that still certify."""
    return errors_allowed(labels, RISK, alpha)


@cache
def won_from(errors: int, cluster: int) -> int:
    """From how many keys on a bet is won with so many whole keys wrong."""

    def is_won(keys: int) -> bool:
        bet = Bet(RISK, cluster)
        for number in range(keys):
            bet.add([(1.0, number < errors)] * cluster)
        return bet.capital >= 1 / ALPHA

    low, high = errors, 64
    while not is_won(high):
        high *= 2
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if is_won(middle) else (middle + 1, high)
    return low


def once(dice: random.Random, wrong: float) -> bool:
    """One look at a file."""
    return sum(dice.random() < wrong for _ in range(LABELS)) <= allowed(LABELS, ALPHA)


def grown(dice: random.Random, wrong: float, *, naive: bool) -> bool:
    """A file that is looked at again and again: exactly each time, or as labels come."""
    errors, labels = 0, 0
    for _ in range(LOOKS):
        for _ in range(LABELS // LOOKS):
            labels += 1
            errors += dice.random() < wrong
            if not naive and labels >= won_from(errors, 1):
                return True
        if naive and errors <= allowed(labels, ALPHA):
            return True
    return False


def prompts(dice: random.Random, wrong: float, *, naive: bool) -> bool:
    """The best of several prompts on one file, with the whole error for each, or their shares."""
    budget = ErrorBudget(ALPHA)
    return any(
        sum(dice.random() < wrong for _ in range(LABELS))
        <= allowed(LABELS, ALPHA if naive else budget.of_trial(number))
        for number in range(1, PROMPTS + 1)
    )


def clustered(dice: random.Random, wrong: float, cluster: int, *, naive: bool) -> bool:
    """Keys of which all labels are alike, taken for independent ones, or key by key."""
    keys = LABELS // cluster
    if naive:
        errors = sum(dice.random() < wrong for _ in range(keys)) * cluster
        return errors <= allowed(keys * cluster, ALPHA)
    errors = 0
    for key in range(1, keys + 1):
        errors += dice.random() < wrong
        if key >= won_from(errors, cluster):
            return True
    return False


Try = Callable[[random.Random, float], bool]


def ways() -> Mapping[str, tuple[Try, Try | None]]:
    """What is tried: as the pipeline does it, and as if each look were the only one."""
    found: dict[str, tuple[Try, Try | None]] = {
        "one look": (once, None),
        f"a file that grows, {LOOKS} looks": (
            lambda dice, wrong: grown(dice, wrong, naive=False),
            lambda dice, wrong: grown(dice, wrong, naive=True),
        ),
        f"{PROMPTS} prompts on one file": (
            lambda dice, wrong: prompts(dice, wrong, naive=False),
            lambda dice, wrong: prompts(dice, wrong, naive=True),
        ),
    }
    for cluster in CLUSTERS:
        found[f"keys of {cluster}"] = (
            lambda dice, wrong, size=cluster: clustered(dice, wrong, size, naive=False),  # type: ignore[misc]
            lambda dice, wrong, size=cluster: clustered(dice, wrong, size, naive=True),  # type: ignore[misc]
        )
    return found


def share(attempt: Try, wrong: float, runs: int) -> float:
    """How many of the runs certify."""
    dice = random.Random(1)  # noqa: S311 - repeatable, not secret
    return sum(attempt(dice, wrong) for _ in range(runs)) / runs


def labels_until_certified(truth: float, runs: int) -> list[int]:
    """As they come."""
    dice = random.Random(2)  # noqa: S311
    found = []
    for _ in range(runs):
        errors = labels = 0
        while labels < _MOST_LABELS and (not labels or labels < won_from(errors, 1)):
            labels += 1
            errors += dice.random() < 1 - truth
        found.append(labels)
    return found


def labels_until_alarm(wrong: float, runs: int) -> list[int]:
    """Of the detector, from the moment at which so many are wrong."""
    dice = random.Random(3)  # noqa: S311
    found = []
    for _ in range(runs):
        detector = Detector(RISK)
        while detector.labels < 20 * RUN_LENGTH and not detector.add(dice.random() < wrong):
            pass
        found.append(detector.labels)
    return found


def bound_below_the_truth(truth: float, runs: int, labels: int = 300) -> float:
    """How often a bound is below the true share at any label, of answers with three chances."""
    dice = random.Random(5)  # noqa: S311
    below = 0
    for _ in range(runs):
        bound = Bound()
        for _ in range(labels):
            bound.add(dice.random() < truth, dice.choice((1.0, 0.5, 0.25)))
        below += bound.upper < truth
    return below / runs


async def measure(runs: int) -> Part:
    """All of it."""
    goals: list[Goal] = []
    bound = 100 * (ALPHA + _SPARE)
    rows, data = [], {}
    for name, (ours, naive) in ways().items():
        falsely = share(ours, RISK, runs)
        beside = None if naive is None else share(naive, RISK, runs)
        rows.append((name, f"{falsely:.1%}", "" if beside is None else f"{beside:.1%}"))
        goals.append(at_most(f"{name}: falsely certified", 100 * falsely, bound, " %"))
        data[name] = {"falsely": falsely, "naive": beside}
    needed = []
    for truth in TRUTHS:
        labels = labels_needed(RISK, ALPHA, true_share=1 - truth)
        if labels is None:
            raise ValueError("no number of labels certifies that")
        dice = random.Random(4)  # noqa: S311
        certified = sum(
            sum(dice.random() < 1 - truth for _ in range(labels)) <= allowed(labels, ALPHA)
            for _ in range(runs)
        ) / runs  # fmt: skip
        come = labels_until_certified(truth, max(100, runs // 20))
        needed.append(
            (f"{truth:.0%}", str(labels), f"{certified:.0%}", f"{statistics.mean(come):.0f}")
        )
        goals.append(at_least(f"{truth:.0%} right: certified", 100 * certified, 79.0, " %"))
        data[f"right {truth}"] = {"labels": labels, "certified": certified}
    few = max(50, runs // 100)
    for truth in (RISK, RISEN[0]):
        below = bound_below_the_truth(truth, few)
        # Of so few runs chance may add three standard deviations.
        most = 100 * (ALPHA + 3 * (ALPHA * (1 - ALPHA) / few) ** 0.5)
        goals.append(at_most(f"{truth:.0%} wrong: live bound ever below", 100 * below, most, " %"))
        data[f"bound {truth}"] = {"below": below}
    seen = {wrong: statistics.mean(labels_until_alarm(wrong, few)) for wrong in (RISK, *RISEN)}
    goals.append(at_least("labels until a false alarm", round(seen[RISK]), RUN_LENGTH))
    return Part(
        name="certificates",
        title="How often certificates and alarms are right",
        about=(
            f"Labels drawn with a known truth, {runs:,} runs; at most {RISK:.0%} of the accepted "
            f"answers wrong is to be certified at {1 - ALPHA:.0%}. Falsely: where {RISK:.0%} are "
            f"wrong in truth. {LABELS} labels, unless their number is said."
        ),
        tables=[
            Table(("way", "falsely certified", "as if each look were the only one"), rows),
            Table(
                ("right in truth", "labels, one look", "certified", "labels as they come, mean"),
                needed,
            ),
            Table(
                ("wrong in truth", "labels until the alarm, mean"),
                [(f"{wrong:.0%}", f"{labels:,.0f}") for wrong, labels in seen.items()],
            ),
        ],
        goals=goals,
        data={**data, "alarm": {str(wrong): labels for wrong, labels in seen.items()}},
    )


def main() -> int:
    """The command line."""
    made = parser("certificates", __doc__)
    made.add_argument("--runs", type=int, default=RUNS)
    given = made.parse_args()
    return conclude(measure(given.runs), write=False)


if __name__ == "__main__":
    sys.exit(main())
