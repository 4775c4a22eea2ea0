"""Whether the process can work: named checks, asked on demand, and the states behind them.

A state has a reason for people, where a metric can only be a number.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

Check = Callable[[], str | None]
"""Returns None where all is well, else one sentence that says why not. Quick, without I/O."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check said; `reason` is None where it passed."""

    name: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class Report:
    """What all checks said, in the order they were added."""

    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether every check passed."""
        return all(finding.reason is None for finding in self.findings)


class Health:
    """The readiness checks: all that must hold for events to move.

    A failed check is expected now and then: what it looks at recovers, or a person fixes it. There
    are no checks of liveness: a consumer that is stuck ends its process by itself.
    """

    def __init__(self) -> None:
        self._checks: list[tuple[str, Check]] = []

    def add_readiness(self, name: str, check: Check) -> None:
        """Let the process count as not ready while `check` gives a reason."""
        self._checks.append((name, check))

    def ready(self) -> Report:
        """Ask every check."""
        return Report(tuple(Finding(name, check()) for name, check in self._checks))


@dataclass(slots=True)
class Conditions:
    """The present state of the process, as the rooms reported it last.

    Args:
        intake_closed: Why no events are taken, by stage; empty where they are.
        held: Why events wait for their turn although nothing is wrong, by stage.
        stuck: Why a consumer counts as stuck, by stage.
        blocked: Why no call to a model can succeed, by model.
        breakers: `closed`, `half_open` or `open`, by model.
        assigned: Partitions assigned to this process, by stage; a stage appears with its first
            assignment, be it an empty one.
        simulated: Whether an answer came from a simulated model.
    """

    intake_closed: dict[str, str] = field(default_factory=dict)
    held: dict[str, str] = field(default_factory=dict)
    stuck: dict[str, str] = field(default_factory=dict)
    blocked: dict[str, str] = field(default_factory=dict)
    breakers: dict[str, str] = field(default_factory=dict)
    assigned: dict[str, int] = field(default_factory=dict)
    simulated: bool = False

    def not_answering(self) -> str | None:
        """Why the models cannot be asked, or None."""
        for model, reason in self.blocked.items():
            return f"{model}: {reason}"
        open_breakers = sorted(model for model, state in self.breakers.items() if state == "open")
        if open_breakers:
            return f"No answer from {', '.join(open_breakers)}: asking again now and then."
        return None
