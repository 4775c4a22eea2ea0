"""What a process costs that has nothing to do.

`python -m benchmarks.idle` runs `pipeline run` with the four stages that are enabled by default
against a real Apache Kafka (Java 17+ and mvn), without a single event, and says how much of a core
it takes and how much memory. `--profile FILE` writes what CPU its functions take, for `pstats`;
it takes more then. Prints a table, the goals, and one JSON object as its last line.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

from benchmarks.goals import Part, Table, at_most
from benchmarks.report import show
from benchmarks.simulated import KEY
from pipeline.config import Settings, TopicSettings
from pipeline.kafka.connection import admin_client
from pipeline.kafka.topics import TopicNames, Topics
from pipeline.local.apache import ApacheKafka
from pipeline.local.child import Child
from pipeline.local.environment import kafka_variables

PARTITIONS = 6
"""Of each topic."""
CORE, MIB = 2.0, 150.0
"""Per cent of a core, and memory, at most."""
_SETTLES = 20.0
_ROOT = Path(__file__).parents[1]
_PROFILED = """
import cProfile, signal, sys, time
from pipeline.cli import main
sys.argv = ["pipeline", "run"]
profile = cProfile.Profile(time.process_time)
signal.signal(signal.SIGALRM, lambda *_: profile.enable())
signal.alarm({settles})
try:
    main()
finally:
    profile.disable()
    profile.dump_stats({file!r})
"""


def cpu_seconds(pid: int) -> float:
    """What a process and its threads took until now."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mib(pid: int) -> float:
    """What it holds."""
    lines = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    return next(int(each.split()[1]) for each in lines if each.startswith("VmRSS:")) / 1024


async def run(seconds: float, profile: Path | None) -> Part:
    """Have it do nothing for a while."""
    settings = TopicSettings(partitions=PARTITIONS, replication_factor=1)
    names = TopicNames(settings)
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="haiku-bench-")))
        broker = await stack.enter_async_context(ApacheKafka())
        stages = [each for each in Settings().enabled if each != "escalations"]
        async with admin_client(broker.settings) as admin:
            await Topics(admin, settings).create(names.of(stages))
        command = ["-m", "pipeline.cli", "run"]
        if profile is not None:
            command = ["-c", _PROFILED.format(file=str(profile), settles=int(_SETTLES))]
        child = Child(
            [sys.executable, *command],
            log=directory / "log",
            env={
                **kafka_variables(broker.settings),
                "ANTHROPIC_API_KEY": KEY,
                "PYTHONPATH": str(_ROOT),
                "PIPELINE_HTTP__PORT": "0",
            },
        )
        try:
            await asyncio.sleep(_SETTLES)
            before = cpu_seconds(child.pid)
            await asyncio.sleep(seconds)
            share, memory = 100 * (cpu_seconds(child.pid) - before) / seconds, rss_mib(child.pid)
        finally:
            await child.stop(30.0)
    return Part(
        "idle",
        "A process with nothing to do",
        f"`pipeline run` with {', '.join(Settings().enabled)}, {PARTITIONS} partitions each, for"
        f" {seconds:g} s without an event.",
        [Table(("of a core", "MiB"), [(f"{share:.2f} %", f"{memory:.0f}")])],
        [at_most("of a core", share, CORE, " %"), at_most("memory", memory, MIB, " MiB")],
        {"core": share, "mib": memory},
    )


def main() -> int:
    """Measure and print."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.idle", description=__doc__)
    made.add_argument("--seconds", type=float, default=60.0, help="that count")
    made.add_argument("--profile", type=Path, help="write a profile there")
    options = made.parse_args()
    profile = None if options.profile is None else options.profile.absolute()
    part = asyncio.run(run(options.seconds, profile))
    show(part)
    return 0 if part.ok else 1


if __name__ == "__main__":
    sys.exit(main())
