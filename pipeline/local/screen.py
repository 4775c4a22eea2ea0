"""What a person sees of the demo: a live view, or lines where there is no terminal; a summary."""

import io
import re
import shlex
import shutil
import sys
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

import orjson
from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pipeline.claude.billing import PRICES_AS_OF
from pipeline.local.accounting import (
    Account,
    Alternatives,
    Coordinates,
    Ending,
    Place,
    Tally,
    percentile,
)
from pipeline.local.day import ROUTINE, DayEvent
from pipeline.model.printable import printable
from pipeline.model.records import Usage, added
from pipeline.stream.records import Received

HAIKU, SONNET = "accepted by Haiku", "settled by Sonnet"
REVIEW, DEAD = "review by a person", "dead letter"
OUTCOMES = {HAIKU: "green", SONNET: "cyan", REVIEW: "yellow", DEAD: "red"}
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
_REDRAWN_AFTER = 0.25
_QUOTED = 40
_WIDE = 200
_PICTURE_WIDE = 112
_SPAN = 5.0
"""Seconds over which the throughput is counted, and between two plain lines."""


def _total(usages: Iterable[Usage]) -> Decimal | None:
    total: Decimal | None = Decimal(0)
    for usage in usages:
        total = added(total, usage.cost_usd)
    return total


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
        self._said: list[str] = []
        self._events: dict[tuple[str, str], DayEvent] = {}
        self._planned: Counter[str] = Counter()
        self._published: Counter[str] = Counter()
        self._ends: dict[str, Counter[str]] = {}
        self._ended: dict[Coordinates, Ending] = {}
        self._escalated: dict[Coordinates, Usage] = {}
        self._recent = deque([(time.monotonic(), 0)])
        self._examples: dict[str, tuple[float, Text]] = {}
        self._next = 0.0

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
        self._next = now + (_SPAN if self._live is None else _REDRAWN_AFTER)
        if self._live is not None:
            self._live.refresh()
        elif self._ended:
            self._print(self._counts())

    def say(self, sentence: str) -> None:
        self._said.append(sentence)
        if self._live is None:
            self._print(sentence)
        else:
            self._live.refresh()

    def plan(self, events: Sequence[DayEvent], stages: Sequence[str]) -> None:
        """These will be published, of stages in this order."""
        self._events = {(event.stage, event.name): event for event in events}
        self._planned = Counter(event.stage for event in events)
        self._ends = {stage: Counter() for stage in stages}

    def published(self, event: DayEvent) -> None:
        self._published[event.stage] += 1

    def escalated(self, event: Coordinates, usage: Usage) -> None:
        """Haiku's answer was doubted, and cost so much."""
        self._escalated[event] = usage

    def ended(self, stage: str, ending: Ending, record: Received) -> None:
        """An event ended, as the record says."""
        now, by_haiku = time.monotonic(), ending.decided_by == "haiku"
        outcome = {
            Place.ENRICHED: HAIKU if by_haiku else SONNET,
            Place.REVIEW: REVIEW,
            Place.DEAD_LETTERS: DEAD,
        }[ending.place]
        self._ended[ending.event] = ending
        self._ends[stage][outcome] += 1
        self._recent.append((now, len(self._ended)))
        while now - self._recent[0][0] > _SPAN and len(self._recent) > 1:
            self._recent.popleft()
        shown = self._examples.get(outcome)
        example = self._example(stage, outcome, ending, record)
        if shown is None:
            self._examples[outcome] = (now, example)
            if self._live is None:
                self._print(f"{outcome}: {example.plain}")
        elif now - shown[0] > _EXAMPLE_STAYS and '"' in example.plain:
            self._examples[outcome] = (now, example)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table = Table(box=None, padding=(0, 2, 0, 0))
        for heading in ("", "", "Events", "Haiku", "Sonnet", "Review", "Dead letters"):
            table.add_column(heading, justify="right" if heading else "left", header_style="dim")
        for stage, ends in self._ends.items():
            done, planned = sum(ends.values()), self._planned[stage]
            table.add_row(
                stage,
                ProgressBar(total=planned, completed=done, width=24),
                f"{done}/{planned}",
                *(
                    Text(str(ends[outcome] or "."), style=style if ends[outcome] else "dim")
                    for outcome, style in OUTCOMES.items()
                ),
            )
        examples = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
        examples.add_column(no_wrap=True, min_width=max(map(len, OUTCOMES)))
        examples.add_column(no_wrap=True, overflow="ellipsis")
        for outcome, style in OUTCOMES.items():
            if outcome in self._examples:
                examples.add_row(Text(outcome, style=style), self._examples[outcome][1])
        said = (Text(printable(sentence), style="dim") for sentence in self._said)
        yield Group(*said, "", table, "", Text(self._counts(), style="bold"), "", examples)

    def _counts(self) -> str:
        """Progress, throughput, lag, escalations and cost by tier, in a line."""
        done, published = len(self._ended), sum(self._published.values())
        (since, before), (now, latest) = self._recent[0], self._recent[-1]
        pace = (latest - before) / max(0.1, now - since)
        ended = _total(ending.usage for ending in self._ended.values())
        first = _total(
            self._escalated.get(event, ending.usage) for event, ending in self._ended.items()
        )
        waiting = (self._escalated[event] for event in self._escalated.keys() - self._ended.keys())
        haiku = added(first, _total(waiting))
        sonnet = None if ended is None or first is None else ended - first
        share = len(self._escalated) / max(1, done)
        return (
            f"{done} of {sum(self._planned.values())} events · {pace:.0f}/s · lag "
            f"{max(0, published - done)} · {share:.0%} escalated · "
            f"Haiku {dollars(haiku)} · Sonnet {dollars(sonnet)}"
        )

    def _example(self, stage: str, outcome: str, ending: Ending, record: Received) -> Text:
        if outcome == DEAD:
            detail = dict(record.headers)["dlq-detail"] or b""
            key = (record.key or b"").decode(errors="replace")
            return _line(stage, key, f"{ending.reason}, {detail.decode(errors='replace')}")
        value = orjson.loads(record.value or b"")
        name = value["event_id"]
        event = self._events.get((stage, name))
        parts = ["" if name.startswith(stage) else stage, name, _content(event) if event else ""]
        if outcome != REVIEW:
            facts = (value["result"].get(fact) for fact in _SHOWN_OF.get(stage, ()))
            texts = (" ".join(fact) if isinstance(fact, list) else fact for fact in facts if fact)
            parts.append(f"→ {', '.join(texts)}")
        if ending.doubts:
            parts.append(f"(doubted for {', '.join(dict.fromkeys(ending.doubts))})")
        return _line(*parts)

    def _print(self, line: str) -> None:
        self._console.print(printable(line), markup=False, soft_wrap=True)


def _line(*parts: str) -> Text:
    return Text(printable(" ".join(part for part in parts if part)))


def _content(event: DayEvent) -> str:
    """The beginning of what it says, or its file."""
    if event.item.value[:1] != b"{":
        return f"({event.item.place})"
    fields = orjson.loads(event.item.value)
    text = next((fields[name] for name in _CONTENT if fields.get(name)), event.name)
    words = " ".join(text.split())
    return f'"{words if len(words) < _QUOTED else words[: _QUOTED - 2] + "…"}"'


HEADINGS = (
    "Use", "Events", "By Haiku", "By Sonnet", "Review", "Dead letters", "Cost", "p50", "p95",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Summary:
    """What the demo came to: for people and, as the same numbers, for programs.

    Args:
        account: What became of every event.
        otherwise: What the same day would have cost in other ways.
        delivery: The guarantee that was in force.
        seconds: From the first event published to the last end.
        dashboard: Where it is, or was.
        records: The folder where all that was published is kept, as JSON Lines.
        problem: Why the demo counts as failed although the account may be fine; None otherwise.
    """

    account: Account
    otherwise: Alternatives
    delivery: str
    seconds: float
    dashboard: str
    records: Path
    problem: str | None = None

    @property
    def ok(self) -> bool:
        """Whether every event reached exactly one end, and nothing else went wrong."""
        return self.problem is None and self.account.ok

    def as_json(self) -> dict[str, Any]:
        """The object that `pipeline demo --json` prints last."""
        return {
            "stages": {name: _as_json(tally) for name, tally in self.account.stages.items()},
            "kinds": {name: _as_json(tally) for name, tally in self.account.kinds.items()},
            "tokens": _tokens(self.account.total.usage),
            "cost_usd": _decimal(self.account.total.usage.cost_usd),
            "sonnet_alone_usd": _decimal(self.otherwise.sonnet_alone),
            "plain_loop_usd": _decimal(self.otherwise.plain_loop),
            "seconds": round(self.seconds, 1),
            "delivery": self.delivery,
            "simulated": self.account.is_simulated,
            "lost": len(self.account.lost),
            "repeated": len(self.account.repeated),
            "unknown": len(self.account.unknown),
            "records": str(self.records),
            "problem": self.problem,
            "ok": self.ok,
        }

    def __rich__(self) -> RenderableType:
        account = self.account
        uses = _table(HEADINGS)
        for name, tally in account.stages.items():
            uses.add_row(*_row(name, tally), *_latencies(tally))
        uses.add_section()
        uses.add_row(*_row("all", account.total), *_latencies(account.total))
        uses.add_row(
            "",
            "",
            *(f"{each / max(1, account.total.published):.0%}" for each in _ends(account.total)),
        )
        hard = _table(("Hard ones among them", *HEADINGS[1:7]))
        kinds = sorted(account.kinds.items(), key=lambda each: -each[1].published)
        for kind, tally in kinds:
            if kind not in {ROUTINE, ""}:
                hard.add_row(*_row(kind, tally))
        simulated = " (simulated)" if account.is_simulated else ""
        cost = account.total.usage.cost_usd
        costs = _table((f"The same day{simulated}", "Cost", ""))
        haiku = sum(account.first, Usage()).cost_usd
        sonnet = None if cost is None or haiku is None else cost - haiku
        costs.add_row(
            f"as shown: Haiku {dollars(haiku)}, Sonnet {dollars(sonnet)}", dollars(cost), ""
        )
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
        account = self.account
        doubts, reasons = account.total.doubts, account.total.reasons
        yield (
            "Computed from the tokens that the records state for each first answer, at the prices "
            f"of {PRICES_AS_OF:%d %B %Y}; the loop checks nothing, so it would have published the "
            f"{account.escalated} doubted answers as they were."
        )
        if doubts:
            yield f"Not accepted at once because of {_counts(doubts)}."
        if reasons:
            yield f"Dead letters because of {_counts(reasons)}."
        if account.is_simulated:
            yield "Answers, tokens, costs and latencies are simulated: no model was asked."

    def _verdict(self) -> str:
        account = self.account
        delivery = self.delivery.replace("_", " ")
        total = account.total.published
        if self.ok:
            cost = dollars(account.total.usage.cost_usd)
            return (
                f"All {total} events reached exactly one end, for {cost} in {self.seconds:.1f} s "
                f"({delivery})."
            )
        faults = (
            f"of {total} events {len(account.lost)} have no end, {len(account.repeated)} more than "
            f"one, and {len(account.unknown)} ends are of no event ({delivery})"
        )
        return f"The demo failed: {self.problem or faults}."


def terminal() -> Console:
    """Standard output; a file or a pipe has no width to keep to."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE)


def next_steps(summary: Summary, *, still_running: bool) -> str:
    """What to type next."""
    program = _program()
    if still_running:
        return f"""
All of it goes on, the dashboard at {summary.dashboard}; Ctrl-C ends it. In another terminal:
  . {shlex.quote(str(summary.records / "env"))}
  {program} tail tickets --pretty --limit 3
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
    # Whoever looks at it need not load typefaces from somewhere for it.
    path.write_text(re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL), encoding="utf-8")


def _program() -> str:
    """How this program is called from where the user is."""
    own = Path(sys.executable).parent / "pipeline"
    found = shutil.which("pipeline")
    if found is not None and Path(found).resolve() == own.resolve():
        return "pipeline"
    return _short(own) if own.exists() else f"{_short(Path(sys.executable))} -m pipeline.cli"


def _short(path: Path) -> str:
    near = path.is_relative_to(Path.cwd())
    return shlex.quote(str(path.relative_to(Path.cwd()) if near else path))


def _table(headings: Sequence[str]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for index, heading in enumerate(headings):
        table.add_column(heading, justify="right" if index else "left", no_wrap=True)
    return table


def _row(name: str, tally: Tally) -> Sequence[str]:
    counts = (tally.published, *_ends(tally))
    return (name, *(str(number or ".") for number in counts), dollars(tally.usage.cost_usd))


def _ends(tally: Tally) -> Sequence[int]:
    return (
        tally.decided_by["haiku"],
        tally.decided_by["sonnet"],
        tally.ends[Place.REVIEW],
        tally.ends[Place.DEAD_LETTERS],
    )


def _latencies(tally: Tally) -> Iterator[str]:
    for share in (0.5, 0.95):
        seconds = percentile(tally.seconds, share)
        yield "." if seconds is None else f"{seconds:.1f} s"


def _as_json(tally: Tally) -> dict[str, Any]:
    return {
        "published": tally.published,
        "enriched": tally.ends[Place.ENRICHED],
        "haiku": tally.decided_by["haiku"],
        "sonnet": tally.decided_by["sonnet"],
        "review": tally.ends[Place.REVIEW],
        "dead_letters": tally.ends[Place.DEAD_LETTERS],
        "escalation_reasons": dict(tally.doubts.most_common()),
        "dead_letter_reasons": dict(tally.reasons.most_common()),
        "tokens": _tokens(tally.usage),
        "cost_usd": _decimal(tally.usage.cost_usd),
        "p50_seconds": percentile(tally.seconds, 0.5),
        "p95_seconds": percentile(tally.seconds, 0.95),
    }


def _tokens(usage: Usage) -> Mapping[str, int]:
    return {
        "input": usage.input_tokens,
        "cache_read": usage.cache_read_tokens,
        "cache_write": usage.cache_write_tokens,
        "output": usage.output_tokens,
    }


def _decimal(cost: Decimal | None) -> str | None:
    return None if cost is None else format(cost, "f")


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{code} ({count})" for code, count in counter.most_common())
