"""Whether any event gets the answer of another one, from servers whose connections get mixed up.

`python -m benchmarks.mixups` asks the same client as the gateway does, over real connections, of a
server that sends responses twice, late, in pieces, out of order or after an error. Each answer
says which request it belongs to. Prints a line for each way, and one JSON object as its last line;
exits with 0 only if no answer was another request's and all were answered.
"""

import argparse
import json
import os
import sys
from typing import Any

import uvloop

from pipeline.claude.client import SdkClient
from tests.claude.misbehaving import MISBEHAVIOURS, PLAIN, ask_all, misbehaving

REQUESTS = 13_200
AT_ONCE = 64


async def measure(kind: str, requests: int) -> dict[str, Any]:
    """Ask that often of a server that misbehaves in that way."""
    async with (
        misbehaving(kind, set_env=os.environ.__setitem__) as api,
        SdkClient(connections=AT_ONCE) as client,
    ):
        found = await ask_all(client, requests, at_once=AT_ONCE)
    return {
        "kind": kind,
        "misbehaved": api.misbehaved,
        "connections": api.connections,
        **{name: found[name] for name in ("right", "wrong", "asked_again")},
    }


async def run(requests: int) -> dict[str, Any]:
    """Try every way, and a server in good order."""
    rows = []
    for kind in (PLAIN, *MISBEHAVIOURS):
        rows.append(await measure(kind, requests))
        sys.stdout.write(" ".join(f"{name}={value}" for name, value in rows[-1].items()) + "\n")
        sys.stdout.flush()
    ok = all(row["wrong"] == 0 and row["right"] == requests for row in rows)
    return {"ok": ok, "requests": requests, "ways": rows}


def main() -> int:
    """Run, and say whether it holds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mixups", description=__doc__)
    parser.add_argument("--requests", type=int, default=REQUESTS, help="of each way")
    result = uvloop.run(run(parser.parse_args().requests))
    sys.stdout.write(json.dumps(result) + "\n")
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
