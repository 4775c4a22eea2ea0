"""What people say of events that two settings answer differently, and what that proves.

They see two answers and not which settings gave them. Only differences are judged: of all other
events both settings say the same, and are right or wrong together.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.cascade.policy import settings_digest
from pipeline.config import load_settings
from pipeline.evaluate.shadow import ShadowReport
from pipeline.model.errors import UsageError
from pipeline.operators.files import usable
from pipeline.trust.certificates import ErrorBudget
from pipeline.trust.pairs import NoWorse, no_worse

SCHEMA = "comparison/1"
_UNREADABLE = "write it with `pipeline trust compare --output`."
Side = Literal["before", "after"]


class Verdict(BaseModel):
    """What a person says of an event whose two answers, `a` and `b`, differ."""

    model_config = ConfigDict(extra="ignore")

    id: str
    right: Literal["a", "b", "both", "neither"] | None = None


def sides(event_id: str) -> tuple[Side, Side]:
    """Which settings gave answer a, and which b: by a hash, so that nothing in the file says it."""
    first = hashlib.blake2b(event_id.encode("utf-8", "surrogatepass"), digest_size=1).digest()[0]
    return ("before", "after") if first % 2 else ("after", "before")


def to_be_judged(report: ShadowReport) -> bytes:
    """The events whose answers differ, as JSON Lines, for people to fill in `right`."""
    lines = []
    for pair in report.changed:
        results = {
            "before": None if pair.before is None else pair.before.result,
            "after": None if pair.after is None else pair.after.result,
        }
        a, b = sides(pair.id)
        line = {"id": pair.id, "event": pair.event, "a": results[a], "b": results[b]}
        lines.append(orjson.dumps({**line, "right": None}))
    return b"".join(line + b"\n" for line in lines)


def document(report: ShadowReport, candidate: Path) -> dict[str, Any]:
    """What `promote` has to know of a comparison, with every pair in its order."""
    return {
        "schema": SCHEMA,
        "stage": report.stage,
        "before": report.before,
        "after": report.after,
        "candidate": _digest(candidate),
        "pairs": [
            {
                "id": pair.id,
                "changed": pair.has_changed,
                "before": None if pair.before is None else pair.before.end,
                "after": None if pair.after is None else pair.after.end,
                "publishes": [
                    pair.before is not None and pair.before.result is not None,
                    pair.after is not None and pair.after.result is not None,
                ],
            }
            for pair in report.pairs
        ],
    }


class _Pair(BaseModel):
    id: str
    changed: bool
    publishes: tuple[bool, bool]


class _Comparison(BaseModel):
    model_config = ConfigDict(extra="ignore")

    schema_: Literal["comparison/1"]
    stage: str
    before: str
    candidate: str
    pairs: list[_Pair]


@dataclass(frozen=True, slots=True)
class Proof:
    """What verdicts say of a candidate; `missing` are differences that nobody judged."""

    finding: NoWorse
    alpha: float
    missing: int

    @property
    def holds(self) -> bool:
        return self.finding.holds(self.alpha)


def prove(
    stage: str, candidate: Path, comparison: Path, verdicts: Path, margin: float, *, trial: int = 1
) -> Proof:
    """Whether people's verdicts show that a candidate is no worse by more than the margin.

    An event whose answers differ and that nobody judged counts as one that got worse. What goes to
    a person is not wrong.

    Raises:
        UsageError: A file is not what it should be, or is of other settings than those in force.
    """
    with usable(comparison, "read", otherwise=_UNREADABLE):
        content = comparison.read_bytes()
    try:
        found = _Comparison.model_validate(_renamed(orjson.loads(content)))
    except (ValidationError, orjson.JSONDecodeError) as error:
        raise UsageError(f"{comparison} is no comparison: {_UNREADABLE}") from error
    if (found.stage, found.candidate) != (stage, _digest(candidate)):
        raise UsageError(f"{comparison} is of another candidate or stage: compare this one.")
    if found.before != settings_digest(load_settings(), stage):
        raise UsageError("The settings in force have changed since: compare once more.")
    if not found.pairs:
        raise UsageError(f"{comparison} has no events: compare more.")
    judged = _read(verdicts)
    outcomes = [_outcome(pair, judged.get(pair.id)) for pair in found.pairs]
    missing = sum(pair.changed and judged.get(pair.id) is None for pair in found.pairs)
    try:
        return Proof(no_worse(outcomes, margin), ErrorBudget().of_trial(trial), missing)
    except ValueError as error:
        raise UsageError(f"Nothing can be shown so: {error}.") from error


def _renamed(read: Any) -> Any:  # noqa: ANN401 - any JSON
    return {**read, "schema_": read.get("schema")} if isinstance(read, dict) else read


def _read(verdicts: Path) -> Mapping[str, str | None]:
    with usable(verdicts, "read", otherwise="name the file that `compare --changed` wrote."):
        lines = verdicts.read_bytes().splitlines()
    found: dict[str, str | None] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            verdict = Verdict.model_validate_json(line)
        except ValidationError as error:
            raise UsageError(
                f'{verdicts}:{number} is no verdict: set "right" to "a", "b", "both" or "neither".'
            ) from error
        found[verdict.id] = verdict.right
    return found


def _outcome(pair: _Pair, right: str | None) -> int:
    if not pair.changed:
        return 0
    if right is None:
        return 1
    a, _ = sides(pair.id)
    names = {"a": a, "b": "before" if a == "after" else "after"}
    is_right = {side: right == "both" or names.get(right) == side for side in ("before", "after")}
    wrong = [
        publishes and not is_right[side]
        for side, publishes in zip(("before", "after"), pair.publishes, strict=True)
    ]
    return int(wrong[1]) - int(wrong[0])


def _digest(candidate: Path) -> str:
    with usable(candidate, "read", otherwise="name a file of settings of the stage."):
        return hashlib.sha256(candidate.read_bytes()).hexdigest()
