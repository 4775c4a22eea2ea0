"""The whole pipeline of this checkout beside that of another one, in turns, in one run.

`python -m benchmarks.beside CHECKOUT` says what a change costs or saves where `throughput` alone
says what the machine was like: CPU an event of either, and their ratio. The other checkout's code
runs with the packages that are installed here. Prints one JSON object as its last line, and exits
0 only if this one takes at most 3 % more.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks.responder import responder
from benchmarks.simulated import KEY
from benchmarks.throughput import API_SECONDS, OTHER_CORES, ROOT, Span, whole
from pipeline.local.apache import ApacheKafka

RATIO_AT_MOST = 1.03


async def measure(other: Path, concurrency: int, span: Span, rounds: int) -> dict[str, list[float]]:
    """Milliseconds of CPU an event, by checkout, round by round."""
    if OTHER_CORES:
        os.sched_setaffinity(0, OTHER_CORES)
    trees: Mapping[str, Path] = {"other": other, "this": ROOT}
    found: dict[str, list[float]] = {name: [] for name in trees}
    with responder(median=API_SECONDS) as port:
        environment = {"ANTHROPIC_BASE_URL": f"http://127.0.0.1:{port}", "ANTHROPIC_API_KEY": KEY}
        async with ApacheKafka() as broker:
            for number in range(rounds):
                # Whoever is first in one round is second in the next.
                for name in sorted(trees, reverse=bool(number % 2)):
                    row = await whole(
                        broker.bootstrap_servers,
                        concurrency,
                        span,
                        environment,
                        prefix=f"{name}-{number}.",
                        root=trees[name],
                    )
                    found[name].append(row.cpu_ms)
                    sys.stderr.write(
                        f"{name}: {row.cpu_ms:.3f} ms an event, {row.per_second:.0f}/s\n"
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
    made.add_argument("--rounds", type=int, default=3)
    made.add_argument("--seconds", type=float, default=15.0, help="of each measurement")
    made.add_argument("--warm-up", type=float, default=8.0, help="seconds before each")
    options = made.parse_args()
    span = Span(options.warm_up, options.seconds)
    found = asyncio.run(
        measure(options.checkout.resolve(), options.concurrency, span, options.rounds)
    )
    ratios = [this / other for this, other in zip(found["this"], found["other"], strict=True)]
    ratio = round(statistics.median(ratios), 3)
    is_good = ratio <= RATIO_AT_MOST
    said = {"ok": is_good, "ratio": ratio, "at_most": RATIO_AT_MOST, "cpu_ms_an_event": found}
    sys.stdout.write(json.dumps(said) + "\n")
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
