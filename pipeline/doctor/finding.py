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
        about: Which check found it, e.g. `brokers`.
        verdict: How bad it is.
        detail: What is so, in a sentence.
        why: Why that matters; empty where all is well.
        advice: What to do: a command or a setting; empty where all is well.
    """

    about: str
    verdict: Verdict
    detail: str
    why: str = ""
    advice: str = ""

    @property
    def text(self) -> str:
        """All of it."""
        return " ".join(part for part in (self.detail, self.why, self.advice) if part)


def ok(about: str, detail: str) -> Finding:
    """All is well."""
    return Finding(about, Verdict.OK, detail)


def warning(about: str, detail: str, *, why: str, advice: str) -> Finding:
    """It works, but not as somebody may expect."""
    return Finding(about, Verdict.WARNING, detail, why, advice)


def failed(about: str, detail: str, *, why: str, advice: str) -> Finding:
    """It does not work."""
    return Finding(about, Verdict.FAILED, detail, why, advice)
