"""`make bench-gateway`: every part in turn, each a program of its own.

Each part writes its section of docs/GATEWAY.md. The last line is one JSON object with what every
part came to; the exit code is 0 only if every goal of every part is held.
"""

import asyncio
import json
import sys
from collections.abc import Sequence
from typing import Any

_REPORTING = ("throughput", "costs", "limits", "outages")
"""Parts that write a section; the one that needs the processors to itself comes first."""
_OTHERS = ("mixups", "backfill")


async def run_part(name: str, options: Sequence[str]) -> dict[str, Any]:
    """Run a part, showing what it prints; returns what its last line says.

    A part that ends without a last line to read is one that does not hold.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", f"benchmarks.{name}", *options), stdout=asyncio.subprocess.PIPE
    )
    last = ""
    if process.stdout is not None:
        async for line in process.stdout:
            last = line.decode(errors="replace")
            sys.stdout.write(last)
            sys.stdout.flush()
    code = await process.wait()
    try:
        report = json.loads(last)
    except json.JSONDecodeError:
        report = None
    if not isinstance(report, dict):
        return {"ok": False, "detail": f"it ended with {code} and no result"}
    return {**report, "ok": report.get("ok") is True and code == 0}


async def run() -> dict[str, Any]:
    """Run all parts, one after another."""
    parts: dict[str, Any] = {}
    for name in (*_REPORTING, *_OTHERS):
        sys.stdout.write(f"--- {name}\n")
        sys.stdout.flush()
        parts[name] = await run_part(name, ("--write",) if name in _REPORTING else ())
    return {"ok": all(part["ok"] for part in parts.values()), "parts": parts}


def main() -> int:
    """Run, and say whether everything holds."""
    result = asyncio.run(run())
    for name, part in result["parts"].items():
        missed = [goal["what"] for goal in part.get("goals", ()) if not goal["held"]]
        sys.stdout.write(f"{name}: {'held' if part['ok'] else 'MISSED'} {'; '.join(missed)}\n")
    sys.stdout.write(json.dumps(result) + "\n")
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
