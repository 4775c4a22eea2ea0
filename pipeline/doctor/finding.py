"""What a check found."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Args:
        about: What, e.g. `brokers`.
        verdict: How bad it is.
        detail: A sentence; where it is not well, also what to do.
    """

    about: str
    verdict: Verdict
    detail: str


def ok(about: str, detail: str) -> Finding:
    """All is well."""
    return Finding(about, Verdict.OK, detail)


def warning(about: str, detail: str) -> Finding:
    """It works, but not as somebody may expect."""
    return Finding(about, Verdict.WARNING, detail)


def failed(about: str, detail: str) -> Finding:
    """It does not work."""
    return Finding(about, Verdict.FAILED, detail)
