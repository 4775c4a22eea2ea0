"""`python -m tests.broker_versions VERSION ...`: the tests of delivery against versions of Kafka.

Each version of Apache Kafka is resolved with Maven and started for the tests marked `kafka` that
say what is read, written, committed and recovered. Prints a table: what passed, what did not, and
which versions of our requests the broker offers. Exits 0 only if everything passed.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from aiokafka.protocol.admin import ApiVersionRequest

from pipeline.kafka.connection import bare_client, patiently
from pipeline.local.apache import ApacheKafka
from pipeline.local.broker import BrokerFailed, BrokerMissing

_ROOT = Path(__file__).parents[1]
_TESTS = tuple(
    f"tests/kafka/test_{name}.py"
    for name in (
        *("kafka_engine", "kafka_transactions", "disasters"),
        *("topics", "reader_writer", "permissions"),
    )
)
_APIS = {0: "Produce", 1: "Fetch", 9: "OffsetFetch", 11: "JoinGroup", 22: "InitProducerId"}
_VERSION = "PIPELINE_LOCAL_KAFKA_VERSION"


@dataclass(frozen=True, slots=True)
class Row:
    """What came of one version: how many tests ended how, which failed, and what is offered."""

    version: str
    ends: Counter[str]
    failed: Sequence[str]
    offers: str

    @property
    def ok(self) -> bool:
        """Whether all passed."""
        return self.ends["passed"] > 0 and not self.failed


def run_tests(version: str, tests: Sequence[str]) -> Row:
    """Run the tests against a version."""
    os.environ[_VERSION] = version
    try:
        offers = asyncio.run(_offers())
    except (BrokerFailed, BrokerMissing) as error:
        return Row(version, Counter(), [str(error)], "")
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        command = [sys.executable, "-m", "pytest", "-q", "-m", "kafka and not drill", *tests]
        environment = {**os.environ, "PIPELINE_REQUIRE_KAFKA": "1"}
        subprocess.run(
            [*command, f"--junitxml={report}"],
            cwd=_ROOT,
            env=environment,
            check=False,
            stdout=sys.stderr,
        )
        cases = list(ElementTree.parse(report).iter("testcase"))
    ended = {f"{case.get('classname')}.{case.get('name')}": _end(case) for case in cases}
    failed = [name for name, end in ended.items() if end == "failed"]
    return Row(version, Counter(ended.values()), failed, offers)


def _end(case: ElementTree.Element) -> str:
    ends = {"failure": "failed", "error": "failed", "skipped": "skipped"}
    return next((ends[child.tag] for child in case if child.tag in ends), "passed")


async def _offers() -> str:
    """The latest version of each of our requests that a broker offers."""
    async with ApacheKafka() as broker, bare_client(broker.settings) as client:
        node = client.get_random_node()
        response = await patiently(lambda: client.send(node, ApiVersionRequest()))
    latest = {key: highest for key, _, highest in response.api_versions}
    return ", ".join(f"{name} {latest[key]}" for key, name in _APIS.items())


def main() -> int:
    """Run the tests against each version, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.broker_versions", description=__doc__)
    parser.add_argument("versions", nargs="+", metavar="VERSION", help="of Apache Kafka")
    parser.add_argument("--tests", nargs="+", default=_TESTS, metavar="PATH")
    options = parser.parse_args()
    rows = [run_tests(version, options.tests) for version in options.versions]
    lines = ["| Apache Kafka | passed | failed | skipped | offers |", "|---|---|---|---|---|"]
    lines += [
        f"| {row.version} | {row.ends['passed']} | {len(row.failed)} | {row.ends['skipped']} "
        f"| {row.offers} |"
        for row in rows
    ]
    lines += [f"{row.version}: {name}" for row in rows for name in row.failed]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0 if all(row.ok for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
