"""`python -m tests.platforms NAME`: one platform until it is stopped.

Prints one JSON object, then `ready`: the settings of `models.<tier>`, variables that lead a client
to credentials, and where the simulated API behind it has its admin endpoints.
"""

import argparse
import asyncio
import json
import signal
import sys
import tempfile
import threading
from pathlib import Path

import uvloop

from pipeline.local.simulated import LIVELY, Latency, Limits, Simulation
from pipeline.runtime.process import collect_seldom
from tests.platforms.expiring import Expiring
from tests.platforms.running import AUTHS, HAIKU, SONNET, running
from tests.platforms.server import COUNTS


async def _serve(options: argparse.Namespace) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    limits = {"*": Limits(requests=options.requests)} if options.requests else {}
    latency = {"*": Latency(median=options.median)} if options.median is not None else LIVELY
    simulation = Simulation(latency=latency, limits=limits, ledger=400_000)
    with tempfile.TemporaryDirectory(prefix="haiku-pipeline-platform-") as directory:
        async with running(
            options.name,
            Path(directory),
            auth=options.auth,
            life=options.expire,
            simulation=simulation,
        ) as platform:
            described = {
                "models": {"haiku": platform.table(HAIKU), "sonnet": platform.table(SONNET)},
                "environment": platform.environment,
                "admin": platform.api.base_url,
                "counts": platform.server.base_url + COUNTS,
            }
            sys.stdout.write(json.dumps(described) + "\nready\n")
            sys.stdout.flush()
            ended = threading.Event()
            # In a thread, as what mounts secrets does not wait for those who ask.
            mounting = asyncio.to_thread(_remount, platform.credentials, platform.key_file, ended)
            mounted = asyncio.create_task(mounting)
            await stopped.wait()
            ended.set()
            await mounted


def _remount(credentials: Expiring, file: Path | None, ended: threading.Event) -> None:
    """Write a mounted key again whenever the next one is there."""
    while file is not None and not ended.wait(credentials.renew_at() - credentials.clock()):
        credentials.write(file)


def main() -> int:
    """Run until stopped."""
    parser = argparse.ArgumentParser(prog="python -m tests.platforms", description=__doc__)
    parser.add_argument("name", choices=sorted(AUTHS))
    parser.add_argument("--auth", help="how requests are proven; the platform's usual way if unset")
    parser.add_argument("--expire", type=float, default=3600.0, help="seconds a credential lives")
    parser.add_argument(
        "--median", type=float, help="seconds an answer takes; a lively day if unset"
    )
    parser.add_argument("--requests", type=int, help="a minute; no limit if unset")
    options = parser.parse_args()
    collect_seldom()
    uvloop.run(_serve(options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
