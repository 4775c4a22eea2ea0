"""`python -m tests.faults`: what must survive, on an Apache Kafka that is started for it.

poison         a hostile record every second: what the others are slowed down by
soak           replicas, brokers and API are ended, frozen, restarted and cut off under load
disasters      offsets are translated and reset, and a second deployment joins the group
expiring       tokens of ten seconds end all the time, and connections prove again who they are
rebalance      replicas come and go while calls take two seconds
head-of-line   one call of a minute while thousands pass it, then a crash

Each prints a table, and one JSON object as the last line, and exits 0 only if all that is promised
was kept. Answers and prices are simulated.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.local.apache import ApacheKafka
from pipeline.model.errors import PipelineError
from tests.faults.disasters import Disasters, run_disasters
from tests.faults.expiring import Expiring, kafka_with_tokens, run_expiring
from tests.faults.head_of_line import HeadOfLine, run_head_of_line
from tests.faults.poisoned import Poisoned, run_poisoned
from tests.faults.rebalance import Rebalance, run_rebalance
from tests.faults.report import Result
from tests.faults.soak import SABOTAGE, Soak, run_soak

FULL = Soak(
    seconds=600,
    events=24_000,
    partitions=12,
    replicas=3,
    kills=30,
    broker_kills=30,
    outages=2,
    outage_seconds=60,
    together=3,
    seed=1,
)
SHORT = Soak(
    seconds=40,
    events=1_600,
    partitions=6,
    replicas=2,
    kills=2,
    broker_kills=2,
    outages=1,
    outage_seconds=5,
    together=1,
    seed=1,
)
SHORT_DISASTERS = Disasters(rounds=1, partitions=6, replicas=2, between=4.0)
SHORT_EXPIRING = Expiring(seconds=40, rounds=1, partitions=6, replicas=2)


_SCENARIOS = ("soak", "poison", "disasters", "expiring", "rebalance", "head-of-line")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a scenario.

    Returns:
        The exit code: 0 if everything was kept; with a sabotage, if just that was noticed.
    """
    options = _parser().parse_args(arguments)
    try:
        result = asyncio.run(_run(options))
    except PipelineError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    report = result.as_json()
    is_good = result.ok
    if options.sabotage is not None:
        is_good = _is_noticed(options.sabotage, report)
        report = {**report, "sabotage": options.sabotage, "sabotage_noticed": is_good}
    sys.stdout.write("\n".join(result.lines()) + "\n" + json.dumps(report) + "\n")
    return 0 if is_good else 1


async def _run(options: argparse.Namespace) -> Result:
    if options.scenario == "expiring":
        expiring = replace(SHORT_EXPIRING if options.short else Expiring(), seed=options.seed)
        async with kafka_with_tokens(options.nodes, expiring.token_seconds) as with_tokens:
            return await run_expiring(expiring, with_tokens, _print, keep=options.keep)
    async with ApacheKafka(nodes=options.nodes) as broker:
        match options.scenario:
            case "soak":
                return await run_soak(_soak(options), broker, _print, keep=options.keep)
            case "poison":
                return await run_poisoned(
                    Poisoned(seed=options.seed), broker, _print, keep=options.keep
                )
            case "disasters":
                disasters = replace(
                    SHORT_DISASTERS if options.short else Disasters(), seed=options.seed
                )
                return await run_disasters(disasters, broker, _print, keep=options.keep)
            case "rebalance":
                rebalance = Rebalance(seed=options.seed)
                return await run_rebalance(rebalance, broker, _print, keep=options.keep)
            case _:
                head_of_line = HeadOfLine(seed=options.seed)
                return await run_head_of_line(head_of_line, broker, _print, keep=options.keep)


def _soak(options: argparse.Namespace) -> Soak:
    soak = replace(SHORT if options.short else FULL, seed=options.seed)
    soak = replace(soak, sabotage=options.sabotage, hostile=not options.calm, avro=options.avro)
    given: dict[str, Any] = {
        name: value
        for name in ("seconds", "events", "replicas", "kills", "broker_kills", "outages")
        if (value := getattr(options, name)) is not None
    }
    return replace(soak, **given)


def _is_noticed(sabotage: str, report: dict[str, Any]) -> bool:
    """Whether the audit found the one event that was spoilt, and no other."""
    found = {what: report[what] for what in ("lost", "duplicated", "out_of_order", "dead_letters")}
    return found == {**dict.fromkeys(found, 0), SABOTAGE[sabotage]: 1}


def _print(sentence: str) -> None:
    sys.stderr.write(f"{sentence}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scenario", nargs="?", choices=_SCENARIOS, default="soak")
    parser.add_argument("--seed", type=int, default=1, help="of the faults and the events")
    parser.add_argument("--nodes", type=int, choices=(1, 3), default=3, help="brokers")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="for logs and the timeline")
    parser.add_argument(
        "--short", action="store_true", help="soak, disasters, expiring: a minute or two"
    )
    soak = parser.add_argument_group("soak")
    soak.add_argument("--calm", action="store_true", help="without hostile records")
    soak.add_argument("--seconds", type=float, help="how long events come and faults happen")
    soak.add_argument("--events", type=int, help="at least; the rate follows from the seconds")
    soak.add_argument("--replicas", type=int, help="processes of the pipeline")
    soak.add_argument("--kills", type=int, help="of each kind: kill -9, SIGTERM, SIGSTOP")
    soak.add_argument("--broker-kills", type=int, help="half of them clean")
    soak.add_argument("--outages", type=int, help="of the API")
    soak.add_argument("--avro", action="store_true", help="results in Avro, by a registry")
    soak.add_argument("--sabotage", choices=sorted(SABOTAGE), help="see that the audit notices")
    return parser


if __name__ == "__main__":
    sys.exit(main())
