"""What a person sees of the demo: a live view, or lines where there is no terminal; a summary."""

import io
import re
import shlex
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

import orjson
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pipeline.claude.billing import Alternatives
from pipeline.claude.model_facts import PRICES_AS_OF
from pipeline.local.accounting import (
    DEAD_LETTER,
    REVIEW,
    Account,
    Coordinates,
    Ending,
    Tally,
    account,
    percentile,
)
from pipeline.local.day import ROUTINE, DayEvent
from pipeline.model.printable import printable
from pipeline.model.records import DOCUMENT, Usage
from pipeline.runtime.console import grid
from pipeline.stream.records import Received

OUTCOMES = {
    DOCUMENT: ("read from its own data", "blue"),
    "haiku": ("accepted by Haiku", "green"),
    "sonnet": ("settled by Sonnet", "cyan"),
    REVIEW: ("review by a person", "yellow"),
    DEAD_LETTER: ("dead letter", "red"),
}
_SHOWN_OF = {
    "tickets": ("intent", "priority"),
    "invoices": ("vendor", "currency", "gross"),
    "images": ("document_type",),
    "documents": ("summary",),
    "requests": ("agent", "tier"),
    "code": ("summary",),
    "texts": ("intent", "dates", "phones"),
}
_CONTENT = ("subject", "body", "text", "query", "source")
_EXAMPLE_STAYS = 4.0
"""Seconds, so that it can be read."""
_REDRAWN_AFTER, _LINE_AFTER = 0.25, 5.0
_QUOTED = 40
_PICTURE_WIDE = 112


def dollars(cost: Decimal | None) -> str:
    """US dollars, with as many digits as say something."""
    if cost is None:
        return "unknown"
    return f"${cost:.2f}" if cost >= 1 else f"${cost:.4f}"


class Screen:
    """What has happened so far, and how it looks; a renderable of rich.

    Args:
        console: Where it is drawn, or written in lines; standard error if not given.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        drawn = self._console.is_terminal and not self._console.is_dumb_terminal
        self._live = (
            # Refreshed by `tick`: its own thread would read what changes meanwhile.
            Live(self, console=self._console, auto_refresh=False)
            if drawn and sys.stdout.isatty()
            else None
        )
        self._sentences: list[str] = []
        self._events: dict[tuple[str, str], DayEvent] = {}
        self._planned: dict[str, int] = {}
        self._published = 0
        self._stage_of: dict[Coordinates, str] = {}
        self._endings: list[Ending] = []
        self._escalated: dict[Coordinates, Usage] = {}
        self._examples: dict[str, tuple[float, Text]] = {}
        self._started = self._latest = self._next = 0.0

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start(refresh=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave it as it is."""
        if self._live is not None:
            self._live.refresh()
            self._live.stop()

    def tick(self) -> None:
        """Bring it up to date, from time to time; to be called often."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + (_LINE_AFTER if self._live is None else _REDRAWN_AFTER)
        if self._live is not None:
            self._live.refresh()
        elif self._endings:
            self._print(self._progress(self._account()))

    def say(self, sentence: str) -> None:
        self._sentences.append(sentence)
        if self._live is None:
            self._print(sentence)
        else:
            self._live.refresh()

    def plan(self, events: Sequence[DayEvent], stages: Sequence[str]) -> None:
        self._events = {(event.stage, event.name): event for event in events}
        counts = Counter(event.stage for event in events)
        self._planned = {stage: counts[stage] for stage in stages}

    def published(self) -> None:
        self._published += 1
        self._started = self._started or time.monotonic()

    def escalated(self, event: Coordinates, usage: Usage) -> None:
        """Haiku's answer was doubted, and cost so much."""
        self._escalated[event] = usage

    def ended(self, stage: str, ending: Ending, record: Received) -> None:
        """An event ended, as the record says; to be called once for each."""
        self._latest = time.monotonic()
        self._stage_of[ending.event] = stage
        self._endings.append(ending)
        shown = self._examples.get(ending.outcome)
        example = self._example(stage, ending, record)
        if shown is None:
            self._examples[ending.outcome] = (self._latest, example)
            if self._live is None:
                self._print(f"{OUTCOMES[ending.outcome][0]}: {example.plain}")
        elif self._latest - shown[0] > _EXAMPLE_STAYS and '"' in example.plain:
            self._examples[ending.outcome] = (self._latest, example)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        found = self._account()
        table = Table(box=None, padding=(0, 2, 0, 0))
        for heading in ("", "", "Events", "Haiku", "Sonnet", "Review", "Dead letters"):
            table.add_column(heading, justify="right" if heading else "left", header_style="dim")
        for stage, tally in found.stages.items():
            done, planned = tally.outcomes.total(), self._planned[stage]
            bar = ProgressBar(total=planned, completed=done, width=24)
            counts = (
                Text(str(count or "."), style=style if count else "dim")
                for count, (_, style) in zip(_counts(tally), OUTCOMES.values(), strict=True)
            )
            table.add_row(stage, bar, f"{done}/{planned}", *counts)
        examples = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
        examples.add_column(no_wrap=True, min_width=max(len(name) for name, _ in OUTCOMES.values()))
        examples.add_column(no_wrap=True, overflow="ellipsis")
        for outcome, (name, style) in OUTCOMES.items():
            if outcome in self._examples:
                examples.add_row(Text(name, style=style), self._examples[outcome][1])
        said = (Text(printable(sentence), style="dim") for sentence in self._sentences)
        progress = Text(self._progress(found), style="bold")
        yield Group(*said, "", table, "", progress, "", examples)

    def _account(self) -> Account:
        return account(self._stage_of, self._endings, self._planned, escalated=self._escalated)

    def _progress(self, found: Account) -> str:
        """How far, throughput, lag, escalations and cost by tier, in a line."""
        done = len(self._endings)
        pace = done / max(0.1, self._latest - self._started)
        return (
            f"{done} of {sum(self._planned.values())} events · {pace:.0f}/s · lag "
            f"{max(0, self._published - done)} · {found.escalated / max(1, done):.0%} escalated · "
            f"Haiku {dollars(found.haiku_usd)} · Sonnet {dollars(found.sonnet_usd)}"
        )

    def _example(self, stage: str, ending: Ending, record: Received) -> Text:
        if ending.outcome == DEAD_LETTER:
            detail = (dict(record.headers)["dlq-detail"] or b"").decode(errors="replace")
            key = (record.key or b"").decode(errors="replace")
            parts = [stage, key, f"{ending.reason}, {detail}"]
        else:
            value = orjson.loads(record.value or b"")
            name = value["event_id"]
            event = self._events.get((stage, name))
            parts = ["" if name.startswith(stage) else stage, name]
            parts.append("" if event is None else _content(event))
            if ending.outcome != REVIEW:
                facts = (value["result"].get(fact) for fact in _SHOWN_OF.get(stage, ()))
                texts = (
                    " ".join(fact) if isinstance(fact, list) else fact for fact in facts if fact
                )
                parts.append(f"→ {', '.join(texts)}")
            if ending.doubts:
                parts.append(f"(doubted for {', '.join(dict.fromkeys(ending.doubts))})")
        return Text(printable(" ".join(part for part in parts if part)))

    def _print(self, line: str) -> None:
        self._console.print(printable(line), markup=False, soft_wrap=True)


def _content(event: DayEvent) -> str:
    """The beginning of what it says, or its file."""
    if event.item.value[:1] != b"{":
        return f"({event.item.place})"
    fields = orjson.loads(event.item.value)
    text = next((fields[name] for name in _CONTENT if fields.get(name)), event.name)
    words = " ".join(text.split())
    return f'"{words if len(words) < _QUOTED else words[: _QUOTED - 2] + "…"}"'


def _counts(tally: Tally) -> list[int]:
    return [tally.outcomes[outcome] for outcome in OUTCOMES]


HEADINGS = (
    "Use", "Events", "Not asked", "By Haiku", "By Sonnet", "Review", "Dead letters", "Cost", "p50",
    "p95",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Summary:
    """What the demo came to: for people and, as the same numbers, for programs."""

    account: Account
    otherwise: Alternatives
    delivery: str  # the guarantee that was in force
    seconds: float  # from the first event published to the last end
    dashboard: str  # where it is, or was
    records: Path  # the folder where all that was published is kept, as JSON Lines
    problem: str | None = None  # why it failed although the account may be fine

    @property
    def ok(self) -> bool:
        return self.problem is None and self.account.ok

    def as_json(self) -> dict[str, Any]:
        """The object that `pipeline demo --json` prints last."""
        found = self.account
        return {
            "stages": {name: _as_json(tally) for name, tally in found.stages.items()},
            "kinds": {name: _as_json(tally) for name, tally in found.kinds.items()},
            "tokens": _tokens(found.total.usage),
            "cost_usd": _decimal(found.total.usage.cost_usd),
            "sonnet_alone_usd": _decimal(self.otherwise.sonnet_alone),
            "plain_loop_usd": _decimal(self.otherwise.plain_loop),
            "seconds": round(self.seconds, 1),
            "delivery": self.delivery,
            "simulated": found.is_simulated,
            "lost": len(found.lost),
            "repeated": len(found.repeated),
            "unknown": len(found.unknown),
            "records": str(self.records),
            "problem": self.problem,
            "ok": self.ok,
        }

    def __rich__(self) -> RenderableType:
        found, total = self.account, self.account.total
        uses = grid(HEADINGS)
        for name, tally in found.stages.items():
            uses.add_row(*_row(name, tally), *_latencies(tally))
        uses.add_section()
        uses.add_row(*_row("all", total), *_latencies(total))
        uses.add_row("", "", *(f"{each / max(1, total.published):.0%}" for each in _counts(total)))
        hard = grid(("Hard ones among them", *HEADINGS[1:8]))
        for kind, tally in sorted(found.kinds.items(), key=lambda each: -each[1].published):
            if kind not in {ROUTINE, ""}:
                hard.add_row(*_row(kind, tally))
        simulated = " (simulated)" if found.is_simulated else ""
        cost = total.usage.cost_usd
        tiers = f"Haiku {dollars(found.haiku_usd)}, Sonnet {dollars(found.sonnet_usd)}"
        costs = grid((f"The same day{simulated}", "Cost", ""))
        costs.add_row(f"as shown: {tiers}", dollars(cost), "")
        for name, other in (
            ("Sonnet alone, prompt cache included", self.otherwise.sonnet_alone),
            ("a plain loop over Haiku, no prompt cache", self.otherwise.plain_loop),
        ):
            times = f"{other / cost:.1f} times" if other is not None and cost else ""
            costs.add_row(name, dollars(other), times)
        sentences = (Text(printable(line)) for line in self._sentences())
        verdict = Text(printable(self._verdict()), style="bold green" if self.ok else "bold red")
        return Group(uses, hard, costs, *sentences, verdict)

    def _sentences(self) -> Iterator[str]:
        total = self.account.total
        yield (
            "Computed from the tokens that the records state for each first answer, at the prices "
            f"of {PRICES_AS_OF:%d %B %Y}; the loop checks nothing, so it would have published the "
            f"{self.account.escalated} doubted answers as they were."
        )
        for what, codes in (
            ("Not accepted at once", total.doubts),
            ("Dead letters", total.reasons),
        ):
            if codes:
                counts = ", ".join(f"{code} ({count})" for code, count in codes.most_common())
                yield f"{what} because of {counts}."
        if self.account.is_simulated:
            yield "Answers, tokens, costs and latencies are simulated: no model was asked."

    def _verdict(self) -> str:
        found, delivery = self.account, self.delivery.replace("_", " ")
        total = found.total.published
        if self.ok:
            cost = dollars(found.total.usage.cost_usd)
            return (
                f"All {total} events reached exactly one end, for {cost} in {self.seconds:.1f} s "
                f"({delivery})."
            )
        faults = (
            f"of {total} events {len(found.lost)} have no end, {len(found.repeated)} more than "
            f"one, and {len(found.unknown)} ends are of no event ({delivery})"
        )
        return f"The demo failed: {self.problem or faults}."


def next_steps(summary: Summary, *, still_running: bool) -> str:
    program = _program()
    if still_running:
        return f"""
All of it goes on, the dashboard at {summary.dashboard}; Ctrl-C ends it. In another terminal:
  . {shlex.quote(str(summary.records / "env"))}
  {program} tail tickets --pretty --limit 3
  {program} desk     # in the browser: cases, answers to label, dead letters
  {program} review list
  {program} dead-letters list"""
    return f"""
Single records, one file a topic: less {shlex.quote(str(summary.records / "review.jsonl"))}
To type next:
  {program} demo --keep                # the same day, and then: dashboard, tail, review
  {program} local -- pipeline run      # the pipeline on this machine, for events of your own
  {program} local -- pipeline doctor   # what a set-up is examined for
  {program} cost --events 1000000 --escalated 0.1"""


def screenshot(screen: Screen, summary: Summary, path: Path) -> None:
    """Draw what the terminal showed last as an SVG file."""
    canvas = Console(record=True, width=_PICTURE_WIDE, file=io.StringIO(), highlight=False)
    canvas.print(screen)
    canvas.print(summary)
    svg = canvas.export_svg(title="pipeline demo", unique_id="demo")
    # To look at it, no typefaces need to be loaded from elsewhere.
    path.write_text(re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL), encoding="utf-8")


def _program() -> str:
    """How this program is called from where the user is."""
    own = Path(sys.executable).parent / "pipeline"
    found = shutil.which("pipeline")
    if found is not None and Path(found).resolve() == own.resolve():
        return "pipeline"
    path = own if own.exists() else Path(sys.executable)
    near = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return shlex.quote(str(near)) + ("" if path is own else " -m pipeline.cli")


def _row(name: str, tally: Tally) -> Sequence[str]:
    counts = (str(number or ".") for number in (tally.published, *_counts(tally)))
    return (name, *counts, dollars(tally.usage.cost_usd))


def _latencies(tally: Tally) -> Iterator[str]:
    for share in (0.5, 0.95):
        seconds = percentile(tally.seconds, share)
        yield "." if seconds is None else f"{seconds:.1f} s"


def _as_json(tally: Tally) -> dict[str, Any]:
    document, haiku, sonnet, review, dead = _counts(tally)
    return {
        "published": tally.published,
        "enriched": tally.outcomes.total() - review - dead,
        "document": document,
        "haiku": haiku,
        "sonnet": sonnet,
        "review": review,
        "dead_letters": dead,
        "escalation_reasons": dict(tally.doubts.most_common()),
        "dead_letter_reasons": dict(tally.reasons.most_common()),
        "tokens": _tokens(tally.usage),
        "cost_usd": _decimal(tally.usage.cost_usd),
        "p50_seconds": percentile(tally.seconds, 0.5),
        "p95_seconds": percentile(tally.seconds, 0.95),
    }


def _tokens(usage: Usage) -> dict[str, int]:
    kinds = ("input", "cache_read", "cache_write", "output")
    return {kind: getattr(usage, f"{kind}_tokens") for kind in kinds}


def _decimal(cost: Decimal | None) -> str | None:
    return None if cost is None else format(cost, "f")
