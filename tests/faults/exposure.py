"""How many calls faults may have cost: what was in flight and uncommitted at each of them. Pure.

A call that was paid is repeated if its outcome was not committed when the process that made it
lost the partition. So the bound on repeated calls is not a guess: each call is known with its
event, its caller and its beginning (from the simulated API), and each outcome with the moment it
was written in the transaction that was committed (its record's timestamp).

For a process that is killed at T this is exact. An outcome that was written before T and is
visible was in a transaction that the killed process had ended. One that was written after T was
written by another process, which had to ask again unless it had the answer.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

UNEXPLAINED_AT_MOST = 0.001
"""Of the calls that were made."""
RECENTLY = 0.25
"""Seconds before its process ended in which an answer may have come that was not committed: a
partition commits every 200 ms (`stream.commit_interval`), and a commit takes a while. Time in
which brokers were away does not count, since nothing could be committed then."""


class Kind(StrEnum):
    """What was done."""

    KILL = "kill -9"
    TERM = "SIGTERM"
    STOP = "SIGSTOP"
    BROKER_KILL = "broker kill -9"
    BROKER_STOP = "broker restart"
    LEADERS = "leader move"
    OUTAGE = "API outage"


PROCESS_KINDS = (Kind.KILL, Kind.TERM, Kind.STOP)


@dataclass(frozen=True, slots=True)
class Question:
    """What a call asks: an event, and one of the models with its way of being asked.

    Args:
        event: The event's id.
        tier: Which hop of its way it is.
        digest: Of the request's content.
    """

    event: str
    tier: str
    digest: str


@dataclass(frozen=True, slots=True)
class Call:
    """A call that was paid, times in seconds of the wall clock."""

    question: Question
    caller: str
    began: float
    ended: float


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that was done, times in seconds of the wall clock.

    Args:
        kind: What.
        target: To whom: a replica or a node.
        caller: Whose calls it endangers; None for those of all.
        at: From when on what is not committed may have to be asked again: the kill, the
            freezing, the end of a process that was asked to end. What a process had sent by
            then may reach the API later, and counts.
        woke: When a frozen process went on.
        noticed: When it must have learned that it had been taken for dead.
        epoch: How many moves of the group came before it.
        away: From when until when brokers may not have taken a commit.
    """

    kind: Kind
    target: str
    caller: str | None
    at: float
    woke: float | None = None
    noticed: float | None = None
    epoch: int = 0
    away: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Exposure:
    """What one fault endangered.

    Args:
        fault: Which.
        uncommitted: Calls that had begun and whose outcome was not committed.
        in_vain: Calls that a frozen process began after it woke, before it could know, about what
            others asked, too.
        recent: Calls that were in flight or answered in the last `RECENTLY` seconds; where brokers
            were away then, uncommitted ones since `RECENTLY` seconds before that, too.
    """

    fault: Fault
    uncommitted: frozenset[Call]
    in_vain: frozenset[Call]
    recent: frozenset[Call] = frozenset()

    @property
    def calls(self) -> frozenset[Call]:
        """All of them."""
        return self.uncommitted | self.in_vain


@dataclass(frozen=True, slots=True)
class Repetitions:
    """Calls that were paid more than once, and what explains them.

    Args:
        made: Calls that were paid.
        repeated: Those beyond the first for the same question, or beyond the results that moves
            of the group asked for.
        bound: The sum over all kills of processes of what was in flight and uncommitted; for one
            that was frozen, at its freezing and at the moment when it noticed.
        recent: The same sum of what was in flight or has just been answered.
        unexplained: Questions that were asked more often than faults endangered their calls.
    """

    made: int
    repeated: int
    bound: int
    recent: int
    unexplained: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether no more was paid than what the faults account for.

        What explains a single call is decided by times alone, and how soon a process that thaws
        learns that it was taken for dead depends on coordinators that may be away just then. So
        one call in a thousand may be without an explanation, as long as the bound holds.
        """
        few = UNEXPLAINED_AT_MOST * self.made
        return self.repeated <= min(self.bound, self.recent) and len(self.unexplained) <= few


def exposures(
    faults: Iterable[Fault], calls: Sequence[Call], written: Mapping[tuple[str, str, int], float]
) -> list[Exposure]:
    """What each fault endangered.

    Args:
        faults: Those that were done.
        calls: Those that were paid.
        written: By event, tier and epoch, when the outcome that was committed was written.
    """
    faults = list(faults)
    by_caller: dict[str, list[Call]] = defaultdict(list)
    callers: dict[Question, set[str]] = defaultdict(set)
    for call in calls:
        by_caller[call.caller].append(call)
        callers[call.question].add(call.caller)
    found = []
    for fault in faults:
        own = calls if fault.caller is None else by_caller[fault.caller]
        before = fault.at if fault.caller is None else fault.woke or float("inf")
        sent = [call for call in own if call.began < before]
        uncommitted = frozenset(
            call
            for call in sent
            if written.get((call.question.event, call.question.tier, fault.epoch), float("inf"))
            > fault.at
        )
        since = _last_commit_possible(fault.at, faults) - RECENTLY
        recent = frozenset(
            call
            for call in sent
            if call.ended > fault.at - RECENTLY or (call in uncommitted and call.ended > since)
        )
        in_vain = frozenset[Call]()
        if fault.woke is not None and fault.noticed is not None:
            in_vain = frozenset(
                call
                for call in own
                if fault.woke <= call.began <= fault.noticed and len(callers[call.question]) > 1
            )
        found.append(Exposure(fault, uncommitted, in_vain, recent))
    return found


def _last_commit_possible(at: float, faults: Iterable[Fault]) -> float:
    """The moment, or the last one before it at which no broker was away or had just come back."""
    away = sorted((fault.away for fault in faults if fault.away is not None), reverse=True)
    for began, ended in away:
        if began < at < ended + RECENTLY:
            at = began
    return at


def repetitions(
    calls: Sequence[Call],
    exposed: Iterable[Exposure],
    decided: Mapping[tuple[str, str], int] | None = None,
) -> Repetitions:
    """Count what was paid more than once, and hold it against what was endangered.

    Only kills of processes count for the bound; a broker's end endangers calls, too, but
    explains single repetitions only.

    Args:
        calls: Those that were paid.
        exposed: What each fault endangered.
        decided: By event and tier, how many outcomes were committed: where the audit found that
            each was asked for, so was a call for each.
    """
    by_question: dict[Question, list[Call]] = defaultdict(list)
    for call in calls:
        by_question[call.question].append(call)
    endangered: set[Call] = set()
    bound = recent = 0
    for exposure in exposed:
        endangered |= exposure.calls
        if exposure.fault.kind in PROCESS_KINDS:
            bound += len(exposure.calls)
            recent += len(exposure.recent | exposure.in_vain)
    again = {
        question: beyond
        for question, asked in by_question.items()
        if (beyond := len(asked) - max(1, (decided or {}).get((question.event, question.tier), 1)))
        > 0
    }
    return Repetitions(
        made=len(calls),
        repeated=sum(again.values()),
        bound=bound,
        recent=recent,
        unexplained=tuple(
            sorted(
                f"{question.event} ({question.tier})"
                for question, beyond in again.items()
                if len(endangered.intersection(by_question[question])) < beyond
            )
        ),
    )
