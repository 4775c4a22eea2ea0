"""A run's result as a table for people and one JSON object for programs. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.faults.audit import Findings
from tests.faults.exposure import Exposure, Kind, Repetitions
from tests.faults.poison import Harm
from tests.faults.replicas import UnaskedEnd

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Result:
    """What a run came to.

    Args:
        scenario: Its name.
        setting: How it was set up, by name.
        findings: What became of the events.
        calls: What was paid more than once.
        exposures: What each fault endangered.
        aborted: Records of aborted transactions: what committed readers were spared.
        drained: Whether everything was committed in time.
        delivery: The guarantees that the replicas said were in force.
        unasked: Ends of replicas that nobody had asked to end.
        late_ends: Replicas that had to be killed because they did not end in time.
        open_transactions: Partitions whose committed readers still waited at the end.
        harm: What the hostile records came to.
        complaints: What else is wrong, in sentences.
        notes: What else was measured, by name.
    """

    scenario: str
    setting: dict[str, Any]
    findings: Findings
    calls: Repetitions
    exposures: Sequence[Exposure]
    aborted: int
    drained: bool
    delivery: Sequence[str]
    unasked: Sequence[UnaskedEnd]
    late_ends: int
    open_transactions: Sequence[str]
    harm: Harm
    complaints: Sequence[str]
    notes: dict[str, Any]

    @property
    def ok(self) -> bool:
        """Whether the run proves what it is there to prove."""
        return (
            self.findings.ok
            and self.calls.ok
            and self.drained
            and list(self.delivery) == ["exactly_once"]
            and not self.late_ends
            and not self.open_transactions
            and not self.harm.wrong
            and not self.complaints
        )

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        findings, calls = self.findings, self.calls
        return {
            "scenario": self.scenario,
            "ok": self.ok,
            **self.setting,
            "published": findings.published,
            "ended": findings.ends,
            "escalated": findings.escalated,
            "again": findings.again,
            "skipped": findings.skipped,
            "lost": len(findings.lost),
            "duplicated": len(findings.duplicated),
            "out_of_order": len(findings.out_of_order),
            "dead_letters": len(findings.dead_lettered),
            "foreign": len(findings.foreign),
            "published_twice": len(findings.published_twice),
            "calls_made": calls.made,
            "calls_repeated": calls.repeated,
            "calls_repeated_at_most": calls.bound,
            "calls_in_flight_or_recent": calls.recent,
            "calls_repeated_unexplained": len(calls.unexplained),
            "aborted_records": self.aborted,
            "faults": {kind: len(each) for kind, each in self._by_kind().items()},
            "drained": self.drained,
            "delivery": list(self.delivery),
            "ended_by_themselves": len(self.unasked),
            "late_ends": self.late_ends,
            "open_transactions": list(self.open_transactions),
            "hostile": self.harm.published,
            "hostile_ended": dict(self.harm.ends),
            "hostile_wrong": len(self.harm.wrong),
            "complaints": list(self.complaints),
            **self.notes,
        }

    def lines(self) -> list[str]:
        """For people."""
        return [*self._about(), *self._about_faults(), *self._about_events(), *self._wrong()]

    def _about(self) -> list[str]:
        return ["", f"{self.scenario}: " + ", ".join(f"{k} {v}" for k, v in self.setting.items())]

    def _about_faults(self) -> list[str]:
        if not self.exposures:
            return []
        head = f"{'fault':<16}{'times':>7}{'uncommitted':>13}{'most':>6}{'in vain':>9}"
        rows = []
        for kind, each in self._by_kind().items():
            open_calls = [len(exposure.uncommitted) for exposure in each]
            in_vain = sum(len(exposure.in_vain) for exposure in each)
            rows.append(
                f"{kind:<16}{len(each):>7}{sum(open_calls):>13}{max(open_calls):>6}{in_vain:>9}"
            )
        return ["", head, *rows]

    def _about_events(self) -> list[str]:
        findings, calls = self.findings, self.calls
        rows = {
            "events published": findings.published,
            **{f"  ended: {end}": n for end, n in sorted(findings.ends.items())},
            "  of these over Sonnet": findings.escalated,
            **({"again, as moved": findings.again} if findings.again else {}),
            **({"skipped, as moved": findings.skipped} if findings.skipped else {}),
            "lost": len(findings.lost),
            "duplicated": len(findings.duplicated),
            "out of order": len(findings.out_of_order),
            "dead letters": len(findings.dead_lettered),
            "calls paid (simulated)": calls.made,
            "calls repeated": calls.repeated,
            "  at most, uncommitted": calls.bound,
            "  at most, in flight or recent": calls.recent,
            "  not explained by a fault": len(calls.unexplained),
            "records aborted, unseen": self.aborted,
            "hostile records": self.harm.published,
            **{f"  hostile {end}": n for end, n in sorted(self.harm.ends.items())},
            **self.notes,
        }
        return ["", *(f"{name:<32}{number:>10}" for name, number in rows.items())]

    def _wrong(self) -> list[str]:
        findings = self.findings
        named = {
            "lost": findings.lost,
            "duplicated": findings.duplicated,
            "out of order": findings.out_of_order,
            "dead letters": findings.dead_lettered,
            "from no published event": findings.foreign,
            "repeated without a fault": self.calls.unexplained,
            "transactions left open": self.open_transactions,
            "hostile": self.harm.wrong,
        }
        sentences = [
            f"{what}: {', '.join(each[:_SHOWN])}" + (" ..." if len(each) > _SHOWN else "")
            for what, each in named.items()
            if each
        ]
        if not self.drained:
            sentences.append("not everything was committed in time")
        if list(self.delivery) != ["exactly_once"]:
            sentences.append(f"delivery in force: {', '.join(self.delivery) or 'unknown'}")
        if self.late_ends:
            sentences.append(f"{self.late_ends} replicas did not end in time after SIGTERM")
        sentences += [
            f"{end.replica} ended by itself ({end.code}): {end.said}" for end in self.unasked
        ]
        sentences += self.complaints
        return ["", *sentences] if sentences else []

    def _by_kind(self) -> dict[Kind, list[Exposure]]:
        found: dict[Kind, list[Exposure]] = {}
        for kind in Kind:
            each = [exposure for exposure in self.exposures if exposure.fault.kind is kind]
            if each:
                found[kind] = each
        return found
