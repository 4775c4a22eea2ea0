"""Whether the process lives and whether it can work: named checks, asked on demand.

What is a state with a reason for people, where a metric can only be a number.
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
    """Two lists of checks.

    Liveness is what only a restart can fix; readiness is all that must hold for events to move.
    A failed readiness check is expected now and then; it resolves by itself, or a person fixes it.
    """

    def __init__(self) -> None:
        self._live: list[tuple[str, Check]] = []
        self._ready: list[tuple[str, Check]] = []

    def add_liveness(self, name: str, check: Check) -> None:
        """Let the process count as dead while `check` gives a reason."""
        self._live.append((name, check))

    def add_readiness(self, name: str, check: Check) -> None:
        """Let the process count as not ready while `check` gives a reason."""
        self._ready.append((name, check))

    def live(self) -> Report:
        """Ask the liveness checks."""
        return _ask(self._live)

    def ready(self) -> Report:
        """Ask the liveness and the readiness checks: what is dead is not ready."""
        return _ask([*self._live, *self._ready])


def _ask(checks: list[tuple[str, Check]]) -> Report:
    return Report(tuple(Finding(name, check()) for name, check in checks))


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

    def not_assigned(self, stage: str) -> str | None:
        """Why a consumer cannot receive, or None; no partition at all is fine for a spare one."""
        if stage in self.assigned:
            return None
        return "The consumer group has not assigned partitions to this process yet."

    def not_moving(self, stage: str) -> str | None:
        """Why a consumer makes no progress, or None."""
        return self.stuck.get(stage)

    def not_answering(self) -> str | None:
        """Why the models cannot be asked, or None."""
        for model, reason in self.blocked.items():
            return f"{model}: {reason}"
        open_breakers = sorted(model for model, state in self.breakers.items() if state == "open")
        if open_breakers:
            return f"No answer from {', '.join(open_breakers)}: asking again now and then."
        return None
