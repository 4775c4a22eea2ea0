"""A gateway on each platform while its credentials expire, and what signing costs.

`python -m benchmarks.platforms [PLATFORM ...]` asks each platform at a steady pace for ten minutes
with credentials that live for one: servers of `tests.platforms`, which check signatures and tokens
as the clouds do, in front of the simulated API. A static key is asked beside them, for the
processor time of an event. Prints a table, the goals, and one JSON object as its last line.
"""

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.goals import Goal, Part, Table, at_least, at_most
from benchmarks.report import conclude, parser
from pipeline.local.child import Child
from tests.platforms.running import UNSET

STATIC = "static key"
ROWS: Mapping[str, tuple[str, str]] = {
    STATIC: ("anthropic", "key"),
    "anthropic": ("anthropic", "key-file"),
    "aws": ("aws", "container"),
    "bedrock": ("bedrock", "container"),
    "bedrock-mantle": ("bedrock-mantle", "container"),
    "vertex": ("vertex", "service-account"),
    "google-cloud": ("google-cloud", "service-account"),
    "foundry": ("foundry", "key"),
    "foundry-entra": ("foundry", "entra"),
    "litellm": ("litellm", "key-file"),
    "proxy": ("proxy", "key-file"),
}
"""What is asked, with the platform and how requests are proven there."""
_FOREVER = 1e6
_STARTS_WITHIN = 180.0
_STOPS_WITHIN = 5.0
_REPORTED = ("asked", "answered", "failed", "blocked", "ends", "maybe_billed")
_TOKENS = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens")
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Found:
    """What a row came to.

    Args:
        name: Of the row.
        report: As `benchmarks.paced` has it.
        ledger: Tokens that the simulated API billed, by kind.
        refused: Requests that the platform did not take for their credentials or form, by reason.
        issued: Credentials that were handed out.
    """

    name: str
    report: Mapping[str, Any]
    ledger: Mapping[str, int]
    refused: Mapping[str, int]
    issued: int

    @property
    def lost(self) -> int:
        failed = sum(self.report["failed"].values())
        return int(self.report["asked"] - self.report["answered"] - failed)

    @property
    def dead(self) -> int:
        return int(sum(self.report["failed"].values()))

    @property
    def stopped(self) -> int:
        return len(self.report["blocked"]) + int(self.report["breakers"])

    @property
    def unbilled(self) -> int:
        """Tokens by which what answers said differs from the ledger."""
        counted = self.report["tokens"]
        return sum(abs(counted.get(kind, 0) - self.ledger[kind]) for kind in _TOKENS)

    @property
    def cpu_ms(self) -> float:
        return 1000 * float(self.report["cpu"]) / max(1, int(self.report["answered"]))


@asynccontextmanager
async def _platform(name: str, auth: str, life: float) -> AsyncIterator[Mapping[str, Any]]:
    """Run a platform; gives what it prints."""
    with tempfile.TemporaryDirectory(prefix="haiku-pipeline-platform-") as directory:
        command = (sys.executable, "-m", "tests.platforms", name, "--auth", auth)
        child = Child(
            [*command, "--expire", str(life)], log=Path(directory, "platform.log"), cwd=ROOT
        )
        try:
            yield await child.until(_printed, f"The platform {name}", within=_STARTS_WITHIN)
        finally:
            await child.stop(_STOPS_WITHIN)


def _printed(output: str) -> Mapping[str, Any] | None:
    lines = output.splitlines()
    return json.loads(lines[lines.index("ready") - 1]) if "ready" in lines else None


@dataclass(frozen=True, slots=True)
class Pace:
    """How each row is asked.

    Args:
        seconds: That it is asked.
        expire: Seconds that a credential lives.
        per_second: Questions.
        begin: What all rows wait for, so that none is asked while others still start.
    """

    seconds: float
    expire: float
    per_second: float
    begin: asyncio.Barrier

    @property
    def options(self) -> Sequence[str]:
        return ("--seconds", str(self.seconds), "--per-second", str(self.per_second))


async def measure(name: str, pace: Pace) -> Found:
    """Ask one platform."""
    platform, auth = ROWS[name]
    async with (
        _platform(platform, auth, _FOREVER if name == STATIC else pace.expire) as server,
        aiohttp.ClientSession() as http,
    ):
        environment = {key: value for key, value in os.environ.items() if key not in UNSET}
        environment |= server["environment"]
        for tier, table in server["models"].items():
            environment[f"PIPELINE_MODELS__{tier.upper()}"] = json.dumps(table)
        report = await _asked(name, environment, pace)
        counters = await _read(http, server["admin"] + "/admin/counters")
        counts = await _read(http, server["counts"])
    ledger = dict.fromkeys(_TOKENS, 0)
    for sums in counters["models"].values():
        for kind in ("input_tokens", "cache_read_tokens", "output_tokens"):
            ledger[kind] += sums[kind]
        ledger["cache_write_tokens"] += (
            sums["cache_write_5m_tokens"] + sums["cache_write_1h_tokens"]
        )
    return Found(name, report, ledger, counts["refused"], counts["issued"])


async def _asked(name: str, environment: Mapping[str, str], pace: Pace) -> Mapping[str, Any]:
    """What a process with a gateway reports."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.paced", *pace.options),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=environment,
        cwd=ROOT,
    )
    try:
        ready = b"" if process.stdout is None else await process.stdout.readline()
        if ready.strip() != b"ready":
            raise RuntimeError(f"what asks {name} did not start; see standard error")
        await pace.begin.wait()
        output, _ = await process.communicate(b"\n")
    finally:
        if process.returncode is None:
            process.kill()
    if process.returncode != 0:
        raise RuntimeError(f"what asked {name} failed; see standard error")
    report: Mapping[str, Any] = json.loads(output.splitlines()[-1])
    return report


async def _read(http: aiohttp.ClientSession, url: str) -> Any:  # noqa: ANN401 - any JSON value
    async with http.get(url) as response:
        response.raise_for_status()
        return await response.json()


async def run(names: Sequence[str], seconds: float, expire: float, per_second: float) -> Part:
    """Ask platforms, all at once: they wait most of the time."""
    rows = [STATIC, *(name for name in names if name != STATIC)]
    pace = Pace(seconds, expire, per_second, asyncio.Barrier(len(rows)))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(measure(name, pace)) for name in rows]
    found = [task.result() for task in tasks]
    static = found[0].cpu_ms
    goals: list[Goal] = []
    for each in found:
        goals.append(at_most(f"{each.name}: questions lost", each.lost, 0))
        goals.append(at_most(f"{each.name}: questions given up", each.dead, 0))
        goals.append(at_most(f"{each.name}: breakers opened, or calls blocked", each.stopped, 0))
        goals.append(at_most(f"{each.name}: tokens of bill and ledger apart", each.unbilled, 0))
        if each.name != STATIC:
            renewals = int(seconds / expire)
            goals.append(at_least(f"{each.name}: credentials used up", each.issued, renewals))
    table = Table(
        (
            "platform",
            "answered",
            "credentials",
            "refused",
            "cost",
            "CPU an event",
            "of a static key",
        ),
        [
            (
                each.name,
                f"{each.report['answered']:,}",
                str(each.issued),
                str(sum(each.refused.values())),
                "unknown" if each.report["usd"] is None else f"${each.report['usd']:.4f}",
                f"{each.cpu_ms:.2f} ms",
                f"{each.cpu_ms / static:.2f}",
            )
            for each in found
        ],
    )
    data = {
        each.name: {
            **{key: each.report[key] for key in _REPORTED},
            "issued": each.issued,
            "refused": each.refused,
            "unbilled_tokens": each.unbilled,
            "usd": each.report["usd"],
            "cpu_ms": round(each.cpu_ms, 3),
            "cpu_of_static": round(each.cpu_ms / static, 3),
        }
        for each in found
    }
    return Part(
        "platforms",
        "Other platforms, while their credentials expire",
        f"A gateway for each platform, {per_second:g} questions a second for {seconds:g} s; a"
        f" credential lives for {expire:g} s. Servers verify signatures and tokens as the clouds"
        " document it; answers and prices are simulated. Requests may be refused for a credential"
        " that has just expired; none of that may stop calls or cost a question.",
        [table],
        goals,
        data,
    )


def main() -> int:
    """Measure and print."""
    made = parser("platforms", __doc__)
    made.add_argument("names", nargs="*", metavar="PLATFORM", help=f"all of {', '.join(ROWS)}")
    made.add_argument("--minutes", type=float, default=10.0, help="that each is asked")
    made.add_argument("--expire", type=float, default=60.0, help="seconds a credential lives")
    made.add_argument("--per-second", type=float, default=10.0, help="questions to each")
    options = made.parse_args()
    if unknown := sorted(set(options.names) - set(ROWS)):
        made.error(f"there is no platform {unknown[0]!r}; there are {', '.join(ROWS)}")
    chosen = options.names or list(ROWS)
    work = run(chosen, 60 * options.minutes, options.expire, options.per_second)
    return conclude(work, write=options.write)


if __name__ == "__main__":
    sys.exit(main())
