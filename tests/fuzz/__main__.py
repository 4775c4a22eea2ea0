"""`python -m tests.fuzz`: the seven raw models and the file checks, fed with third-party records.

Each record is a sample that was bent out of shape by a seed. It must be asked about, or become a
dead letter with a reason that a person understands: no crash, no hang, nothing unexplained. A
process of its own is fed, so that one that hangs or dies is noticed. Prints one JSON object as the
last line; exits 0 only if all went well. `--seed N --count 1` shows one case again.
"""

import argparse
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from queue import Empty, Queue
from typing import IO

HANGS_AFTER = 20.0
"""Seconds for one record. Most take a millisecond; a large image takes one."""
_STARTS_WITHIN = 120.0
_MOST_SHOWN = 20


@dataclass(slots=True)
class Findings:
    """What came of it.

    Args:
        ends: How often each end was come to.
        faults: What went wrong, by seed.
    """

    ends: Counter[str] = field(default_factory=Counter)
    faults: dict[int, str] = field(default_factory=dict)


class Fed:
    """A worker process."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._lines: Queue[str] = Queue()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input: IO[str] = self._process.stdin
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,))
        self._reader.start()
        self._lines.get(timeout=_STARTS_WITHIN)

    def feed(self, seed: int) -> tuple[str, str | None]:
        """Feed it one seed; the end, and what is wrong with it."""
        self._input.write(f"{seed}\n")
        self._input.flush()
        try:
            line = self._lines.get(timeout=HANGS_AFTER)
        except Empty:
            return "hung", f"no answer within {HANGS_AFTER:g} s"
        if not line:
            return "died", f"the process ended with {self._process.wait()}"
        report = json.loads(line)
        return report["end"], report["fault"]

    def end(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        self._input.close()

    def _read(self, output: IO[str]) -> None:
        with output:
            for line in output:
                self._lines.put(line)
        self._lines.put("")


def fuzz(*, seed: int, seconds: float, count: int | None) -> Findings:
    """Feed seeds, from the given one on, until the time or the count is over."""
    findings, fed = Findings(), Fed()
    deadline = time.monotonic() + seconds
    try:
        while time.monotonic() < deadline and (count is None or findings.ends.total() < count):
            end, fault = fed.feed(seed)
            findings.ends[end] += 1
            if fault is not None:
                findings.faults[seed] = fault
            if end in {"hung", "died"}:
                fed.end()
                fed = Fed()
            seed += 1
    finally:
        fed.end()
    return findings


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz, and say what came of it; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="how long at most")
    parser.add_argument("--count", type=int, help="records at most")
    parser.add_argument("--seed", type=int, default=1, help="of the first record")
    options = parser.parse_args(arguments)
    started = time.monotonic()
    findings = fuzz(seed=options.seed, seconds=options.seconds, count=options.count)
    for seed, fault in list(findings.faults.items())[:_MOST_SHOWN]:
        sys.stderr.write(f"seed {seed}: {fault}\n")
    report = {
        "records": findings.ends.total(),
        "seconds": round(time.monotonic() - started, 1),
        "first_seed": options.seed,
        "ends": dict(findings.ends.most_common()),
        "faults": len(findings.faults),
        "ok": not findings.faults and findings.ends.total() > 0,
    }
    sys.stdout.write(json.dumps(report) + "\n")
    return 0 if report["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
