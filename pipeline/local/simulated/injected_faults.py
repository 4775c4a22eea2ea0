"""What goes wrong on demand: by chance, on a schedule, or for the next calls.

A fault is written `KIND[:SHARE][,NAME=VALUE...]`, for example `overloaded:0.1`,
`slow:0.05,seconds=20`, `server_error,next=3`, `html:0.5,from=60,for=30,model=claude-haiku-5-5`.
`outage:60:30` and `gone:60:30` are short for `from=60,for=30`. `server_error,match=WORDS` hits
each request about a text with these words in it, and no other.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

BEFORE = frozenset({
    "overloaded", "outage", "server_error", "unavailable", "timeout", "html", "html_ok",
    "disconnect", "gone", "hang", "rate_limited", "rate_limited_bare", "ramp_limit",
    "enforced_spend_limit", "contract_spend_limit", "own_spend_limit", "bad_key", "forbidden",
    "billing", "disabled", "unclear", "filtered",
})  # fmt: skip
"""Kinds that happen instead of an answer: nothing is answered, nothing is billed."""
AFTER = frozenset({"disconnect_midway", "malformed", "refusal", "cut_off", "no_text", "case"})
"""Kinds that spoil an answer which is billed."""
LOST = frozenset({
    "lost_server_error", "lost_overloaded", "lost_timeout", "lost_html", "lost_disconnect",
    "lost_hang",
})  # fmt: skip
"""Kinds that strike when the work is done: the message is billed or the batch is made, and what
comes back is an error, or nothing. They befall what does work, messages and new batches."""
IN_BATCHES = frozenset({"expired", "errored"})
"""Kinds that befall requests in batches only, and are not billed."""
MODIFIERS = frozenset({"slow"})
GROUPS: Mapping[str, tuple[str, ...]] = {
    "errors": ("overloaded", "server_error", "unavailable", "timeout", "html", "disconnect"),
    "spoiled": ("malformed", "refusal", "cut_off", "no_text"),
}
"""Kinds that stand for one of several, drawn for each call."""
KINDS = frozenset(BEFORE | AFTER | LOST | IN_BATCHES | MODIFIERS | set(GROUPS))
_IN_CALLS = KINDS - IN_BATCHES - LOST
IN_BATCH_REQUESTS = (AFTER | IN_BATCHES | {"spoiled"}) - {"disconnect_midway"}
_ALWAYS = frozenset({"outage", "gone"})


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong."""

    kind: str  # one of `KINDS`
    share: float = 1.0  # of the calls it is drawn for
    next: int | None = None  # only that many calls more
    after: float = 0.0  # seconds until it begins
    duration: float | None = None  # seconds; without end if None
    model: str | None = None  # only calls of this model
    match: str | None = None  # only calls whose messages have this text; no requests of batches
    seconds: float = 10.0  # for `slow`: that much more
    category: str | None = "general_harms"  # for `refusal`: that of its `stop_details`

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(
                f"there is no fault {self.kind!r}; there are {', '.join(sorted(KINDS))}"
            )
        if not 0 < self.share <= 1:
            raise ValueError(f"the share of {self.kind} must be above 0 and at most 1")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the written form."""
        head, *options = text.split(",")
        kind, *numbers = head.strip().split(":")
        fields: dict[str, Any] = {"kind": kind}
        try:
            if kind in _ALWAYS and numbers:
                fields |= dict(zip(("after", "duration"), map(float, numbers), strict=False))
            elif numbers:
                (fields["share"],) = map(float, numbers)
            for option in options:
                name, _, value = option.partition("=")
                field, convert = _OPTIONS[name.strip()]
                fields[field] = convert(value.strip())
        except (KeyError, ValueError) as error:
            raise ValueError(
                f"{text!r} is not a fault: KIND[:SHARE][,next=N][,from=S][,for=S][,model=ID]"
                "[,match=WORDS][,seconds=S][,category=NAME], or outage:START:SECONDS"
            ) from error
        return cls(**fields)


_OPTIONS: Mapping[str, tuple[str, Any]] = {
    "share": ("share", float),
    "next": ("next", int),
    "from": ("after", float),
    "for": ("duration", float),
    "model": ("model", str),
    "match": ("match", str),
    "seconds": ("seconds", float),
    "category": ("category", str),
}


@dataclass(slots=True)
class _Running:
    fault: Fault
    since: float
    left: int | None

    def applies(self, model: str | None, now: float, text: Callable[[], str]) -> bool:
        elapsed = now - self.since - self.fault.after
        in_time = elapsed >= 0 and (self.fault.duration is None or elapsed < self.fault.duration)
        if not in_time or self.left == 0 or self.fault.model not in {None, model}:
            return False
        return self.fault.match is None or self.fault.match in text()

    def over(self, now: float) -> bool:
        if self.left == 0:
            return True
        duration = self.fault.duration
        return duration is not None and now - self.since >= self.fault.after + duration


class Faults:
    """The faults in force."""

    def __init__(self, random: random.Random) -> None:
        self._random = random
        self._running: list[_Running] = []

    def add(self, fault: Fault, now: float) -> None:
        self._running.append(_Running(fault, now, fault.next))

    def clear(self) -> None:
        self._running.clear()

    def listed(self, now: float) -> Sequence[Fault]:
        """Those that are or will be in force, with what is left of `next`."""
        return [replace(run.fault, next=run.left) for run in self._running if not run.over(now)]

    def draw(
        self,
        model: str | None,
        now: float,
        text: Callable[[], str] = str,
        *,
        kinds: frozenset[str] = _IN_CALLS,
    ) -> Sequence[Fault]:
        """What goes wrong with this call: at most one fault, and any number of `slow`.

        `text` reads what its messages say. `LOST` are the kinds for the response to work that is
        done, `IN_BATCH_REQUESTS` those for a request of a batch.
        """
        drawn: list[Fault] = []
        failed = False
        for run in self._running:
            modifier = run.fault.kind in MODIFIERS
            if run.fault.kind not in kinds or (failed and not modifier):
                continue
            if not run.applies(model, now, text) or self._random.random() >= run.fault.share:
                continue
            if run.left is not None:
                run.left -= 1
            failed = failed or not modifier
            drawn.append(self._one_of_group(run.fault))
        self._running = [run for run in self._running if not run.over(now)]
        return drawn

    def _one_of_group(self, fault: Fault) -> Fault:
        group = GROUPS.get(fault.kind)
        return fault if group is None else replace(fault, kind=self._random.choice(group))
