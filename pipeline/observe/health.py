"""Whether the process lives and whether it can work: named checks, asked on demand."""

from collections.abc import Callable
from dataclasses import dataclass

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

    Liveness is what only a restart can mend; readiness is all that must hold for events to move.
    A failed readiness check is expected now and then and mends itself, or is mended by a person.
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
