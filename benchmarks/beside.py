"""The whole pipeline of this checkout beside that of another one, in turns, in one run.

`python -m benchmarks.beside CHECKOUT` says what a change costs or saves where `throughput` alone
says what the machine was like: CPU an event of either, and their ratio. With `--rate` events come
steadily instead of waiting in a backlog, and how long they take is measured as well. The other
checkout's code runs with the packages that are installed here. Prints one JSON object as its last
line, and exits 0 only if this one takes at most 3 % more.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

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


async def measure(
    other: Path,
    concurrency: int,
    span: Span,
    rounds: int,
    *,
    rate: int | None = None,
    partitions: int = PARTITIONS,
) -> dict[str, list[Row]]:
    """What was measured, by checkout, round by round."""
    if OTHER_CORES:
        os.sched_setaffinity(0, OTHER_CORES)
    trees: Mapping[str, Path] = {"other": other, "this": ROOT}
    found: dict[str, list[Row]] = {name: [] for name in trees}
    with responder(median=API_SECONDS) as port:
        environment = {"ANTHROPIC_BASE_URL": f"http://127.0.0.1:{port}", "ANTHROPIC_API_KEY": KEY}
        async with ApacheKafka() as broker:
            for number in range(rounds):
                # The first one in a round is the second in the next.
                for name in sorted(trees, reverse=bool(number % 2)):
                    run = (broker.bootstrap_servers, concurrency, span, environment)
                    prefix, root = f"{name}-{number}.", trees[name]
                    if rate is None:
                        row = await whole(*run, prefix=prefix, partitions=partitions, root=root)
                    else:
                        row = await steady(
                            *run, rate=rate, prefix=prefix, partitions=partitions, root=root
                        )
                    found[name].append(row)
                    sys.stderr.write(
                        f"{name}: {row.cpu_ms:.3f} ms an event, {row.per_second:.0f}/s, "
                        f"p50 {row.p50_ms:.0f} ms, p95 {row.p95_ms:.0f} ms, "
                        f"{row.commits_per_second:.0f} commits/s, {row.open_files:.0f} open files\n"
                    )
    return found


def main() -> int:
    """Measure and print."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.beside",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("checkout", type=Path, help="of the other commit, e.g. by git worktree")
    made.add_argument("--concurrency", type=int, default=256, help="calls under way")
    made.add_argument("--rate", type=int, help="events a second, instead of a backlog")
    made.add_argument("--partitions", type=int, default=PARTITIONS, help="of each topic")
    made.add_argument("--rounds", type=int, default=3)
    made.add_argument("--seconds", type=float, default=15.0, help="of each measurement")
    made.add_argument("--warm-up", type=float, default=8.0, help="seconds before each")
    made.add_argument("--at-most", type=float, default=RATIO_AT_MOST, help="ratio that is good")
    options = made.parse_args()
    span = Span(options.warm_up, options.seconds)
    found = asyncio.run(
        measure(
            options.checkout.resolve(),
            options.concurrency,
            span,
            options.rounds,
            rate=options.rate,
            partitions=options.partitions,
        )
    )
    ratio = round(
        statistics.median(
            this.cpu_ms / other.cpu_ms
            for this, other in zip(found["this"], found["other"], strict=True)
        ),
        3,
    )
    is_good = ratio <= options.at_most
    rows = {name: [asdict(row) for row in each] for name, each in found.items()}
    said = {"ok": is_good, "ratio": ratio, "at_most": options.at_most, "rows": rows}
    sys.stdout.write(json.dumps(said).replace("NaN", "null") + "\n")
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
