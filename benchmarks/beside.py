"""The whole pipeline of this checkout beside that of another one, in turns, in one run.

`python -m benchmarks.beside CHECKOUT` says what a change costs or saves where `throughput` alone
says what the machine was like: CPU an event of either, and their ratio, connections to the broker,
transactions, and how long a start takes. With `--rate` events come steadily instead of waiting in
a backlog, and how long they take is measured as well; `--partitions 6 60 384` has each of these in
turn. The other checkout's code runs with the packages that are installed here. Needs Java 17+ and
mvn. Prints a table, the goals, and one JSON object as its last line, and exits 0 only if this one
takes at most 3 % more CPU.
"""

import os
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.goals import Goal, Part, Table, at_most
from benchmarks.report import conclude, parser
from benchmarks.responder import responder
from benchmarks.simulated import KEY
from benchmarks.throughput import (
    API_SECONDS,
    OTHER_CORES,
    PARTITIONS,
    ROOT,
    Row,
    Span,
    steady,
    whole,
)
from pipeline.local.apache import ApacheKafka

RATIO_AT_MOST = 1.03
_DOCUMENT = ROOT / "docs" / "DELIVERY.md"
_FLEET = 50, 200
"""Replicas, and partitions of each, whose connections are computed from those that were counted."""
Found = Mapping[int, Mapping[str, list[Row]]]
"""By partitions and checkout, round by round."""


async def measure(
    other: Path,
    concurrency: int,
    span: Span,
    rounds: int,
    *,
    rate: int | None = None,
    partitions: Sequence[int] = (PARTITIONS,),
) -> Found:
    """What was measured of each number of partitions."""
    if OTHER_CORES:
        os.sched_setaffinity(0, OTHER_CORES)
    trees: Mapping[str, Path] = {"other": other, "this": ROOT}
    found: dict[int, dict[str, list[Row]]] = {n: {name: [] for name in trees} for n in partitions}
    with responder(median=API_SECONDS) as port:
        environment = {"ANTHROPIC_BASE_URL": f"http://127.0.0.1:{port}", "ANTHROPIC_API_KEY": KEY}
        for count in partitions:
            # A broker of its own: what the topics of before cost it would be counted here, too.
            async with ApacheKafka() as broker:
                for number in range(rounds):
                    # The first one in a round is the second in the next.
                    for name in sorted(trees, reverse=bool(number % 2)):
                        run = (broker.bootstrap_servers, concurrency, span, environment)
                        prefix, root = f"{name}-{number}.", trees[name]
                        if rate is None:
                            row = await whole(*run, prefix=prefix, partitions=count, root=root)
                        else:
                            row = await steady(
                                *run, rate=rate, prefix=prefix, partitions=count, root=root
                            )
                        found[count][name].append(row)
                        sys.stderr.write(
                            f"{count} partitions, {name}: {row.cpu_ms:.3f} ms an event, "
                            f"{row.per_second:.0f}/s, {row.commits_per_second:.0f} commits/s, "
                            f"{row.sockets:.0f} connections\n"
                        )
    return found


def _median(rows: Sequence[Row], of: Callable[[Row], float]) -> float:
    return statistics.median(of(row) for row in rows)


def _ratio(found: Mapping[str, Sequence[Row]]) -> float:
    pairs = zip(found["this"], found["other"], strict=True)
    return round(statistics.median(this.cpu_ms / other.cpu_ms for this, other in pairs), 3)


def _table(found: Found) -> Table:
    rows = []
    for count, by_checkout in found.items():
        for name, each in by_checkout.items():
            numbers: tuple[tuple[Callable[[Row], float], str], ...] = (
                (lambda row: row.sockets, ".0f"),
                (lambda row: row.open_files, ".0f"),
                (lambda row: row.commits_per_second, ".1f"),
                (lambda row: row.per_second, ".0f"),
                (lambda row: row.cpu_ms, ".3f"),
                (lambda row: row.p50_ms, ".0f"),
                (lambda row: row.p95_ms, ".0f"),
                (lambda row: row.start_seconds, ".1f"),
            )
            cells = (format(_median(each, of), form) for of, form in numbers)
            rows.append((str(count), name, *("" if cell == "nan" else cell for cell in cells)))
    headings = (
        *("partitions", "checkout", "connections to the broker", "open files"),
        *("transactions/s", "events/s", "CPU ms an event", "p50, ms", "p95, ms", "start, s"),
    )
    return Table(headings, rows)


def _connections(found: Found, name: str) -> str:
    """Those of a fleet, on a line through the smallest and the largest number of partitions."""
    replicas, partitions = _FLEET
    low, high = min(found), max(found)
    at_low, at_high = (_median(found[n][name], lambda row: row.sockets) for n in (low, high))
    each = at_low + (at_high - at_low) * (partitions - low) / max(1, high - low)
    return f"{replicas * each:,.0f}"


def part(found: Found, about: str, ratio_at_most: float) -> Part:
    """What it came to."""
    ratios = {count: _ratio(by_checkout) for count, by_checkout in found.items()}
    goals: list[Goal] = [
        at_most(f"{count} partitions: CPU an event of the other's", ratio, ratio_at_most)
        for count, ratio in ratios.items()
    ]
    tables = [_table(found)]
    if len(found) > 1:
        replicas, partitions = _FLEET
        heading = f"{replicas} replicas of {partitions} partitions each, computed from these"
        rows = [(name, _connections(found, name)) for name in ("other", "this")]
        tables.append(Table((heading, "connections to a broker"), rows))
    return Part(
        name="beside",
        title="What a process costs beside another commit",
        about=about,
        tables=tables,
        goals=goals,
        data={
            "ratios": ratios,
            "rows": {
                count: {name: [asdict(row) for row in each] for name, each in by_checkout.items()}
                for count, by_checkout in found.items()
            },
        },
    )


def main() -> int:
    """Measure and print."""
    made = parser("beside", __doc__, document=_DOCUMENT)
    made.add_argument("checkout", type=Path, help="of the other commit, e.g. by git worktree")
    made.add_argument("--concurrency", type=int, default=256, help="calls under way")
    made.add_argument("--rate", type=int, help="events a second, instead of a backlog")
    made.add_argument(
        "--partitions", type=int, nargs="+", default=[PARTITIONS], help="of each topic"
    )
    made.add_argument("--rounds", type=int, default=3)
    made.add_argument("--seconds", type=float, default=15.0, help="of each measurement")
    made.add_argument("--warm-up", type=float, default=8.0, help="seconds before each")
    made.add_argument("--at-most", type=float, default=RATIO_AT_MOST, help="ratio that is good")
    options = made.parse_args()
    span = Span(options.warm_up, options.seconds)
    load = "a backlog" if options.rate is None else f"{options.rate} events a second"
    about = (
        f"One process on one core, `{options.checkout.name}` being the other checkout; {load}, a "
        f"responder that answers after {1000 * API_SECONDS:.0f} ms, one broker. Medians of "
        f"{options.rounds} rounds of {options.seconds:g} s. A start ends with a commit in every "
        "partition."
    )

    async def run() -> Part:
        found = await measure(
            options.checkout.resolve(),
            options.concurrency,
            span,
            options.rounds,
            rate=options.rate,
            partitions=options.partitions,
        )
        return part(found, about, options.at_most)

    return conclude(run(), write=options.write, document=_DOCUMENT)


if __name__ == "__main__":
    sys.exit(main())
