"""What the gateway adds to a bare loop over the SDK, in CPU time a call.

`python -m benchmarks.gateway` runs the two in turns against a responder on another core and
prints a table, and one JSON object as its last line.
"""

import argparse
import asyncio
import gc
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from itertools import count
from typing import Literal

import anthropic
import httpx2
import orjson
from pydantic import BaseModel, ConfigDict, JsonValue

from pipeline.claude.gateway import Gateway
from pipeline.events import Tier
from pipeline.questions import Question, Text
from pipeline.settings import Settings

GOAL = 1.10
"""CPU of the gateway at most, beside the bare loop."""
INSTRUCTIONS = "You sort support tickets of a shop into categories. " * 60
BODY = "I was charged twice for order {number}. Please refund one of the two payments. " * 3

Ask = Callable[[int], Awaitable[object]]


class Sorted(BaseModel):
    """The answer of the benchmark's question."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    label: Literal["billing", "sales"]
    summary: str
    confidence: float
    unclear: bool


SCHEMA: dict[str, JsonValue] = {
    "type": "object",
    "properties": {
        "label": {"type": "string", "enum": ["billing", "sales"]},
        "summary": {"type": "string"},
        "confidence": {"type": "number"},
        "unclear": {"type": "boolean"},
    },
    "required": ["label", "summary", "confidence", "unclear"],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class Row:
    """One way of asking, measured."""

    name: str
    calls_per_second: float
    cpu_ms: float


def _question(number: int) -> Question[Sorted]:
    return Question(
        stage="tickets",
        instructions=INSTRUCTIONS,
        parts=(Text("body", BODY.format(number=number)),),
        answer_model=Sorted,
        answer_schema=SCHEMA,
        max_output_tokens=256,
    )


@asynccontextmanager
async def bare_loop(concurrency: int) -> AsyncIterator[Ask]:
    """What a careful user writes: aiohttp transport, raw response, one parse, validation."""
    client = anthropic.DefaultAioHttpClient(limits=httpx2.Limits(max_connections=concurrency))
    static = {
        "model": "claude-haiku-5-5",
        "max_tokens": 256,
        "thinking": {"type": "disabled"},
        "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}},
        "system": [{"type": "text", "text": INSTRUCTIONS, "cache_control": {"type": "ephemeral"}}],
    }
    async with anthropic.AsyncAnthropic(max_retries=0, http_client=client) as sdk:

        async def ask(number: int) -> object:
            content = BODY.format(number=number)
            body = {**static, "messages": [{"role": "user", "content": content}]}
            response = await sdk.post("/v1/messages", cast_to=httpx2.Response, body=body)
            message = orjson.loads(response.content)
            return Sorted.model_validate_json(message["content"][0]["text"])

        yield ask


@asynccontextmanager
async def gateway(concurrency: int) -> AsyncIterator[Ask]:
    """The gateway with its default settings."""
    settings = Settings()
    settings.claude.concurrency = concurrency
    async with Gateway(settings) as opened:

        async def ask(number: int) -> object:
            return await opened.ask(_question(number), Tier.HAIKU)

        yield ask


WAYS = {"bare SDK loop": bare_loop, "gateway": gateway}


async def _drive(ask: Ask, numbers: Iterator[int], *, calls: int, concurrency: int) -> None:
    left = iter(range(calls))

    async def work() -> None:
        for _ in left:
            await ask(next(numbers))

    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(work())


async def measure(calls: int, concurrency: int, rounds: int) -> tuple[list[Row], float]:
    """Run both in turns, in short rounds, so that what else the machine does hits both alike.

    Returns:
        The medians of the rounds, and the median of the rounds' ratios.
    """
    numbers = count()
    cpu: dict[str, list[float]] = {name: [] for name in WAYS}
    rate: dict[str, list[float]] = {name: [] for name in WAYS}
    async with AsyncExitStack() as stack:
        asks = {name: await stack.enter_async_context(WAYS[name](concurrency)) for name in WAYS}
        for ask in asks.values():
            await _drive(ask, numbers, calls=concurrency * 4, concurrency=concurrency)
        for _ in range(rounds):
            for name, ask in asks.items():
                gc.collect()
                cpu_before, before = time.process_time(), time.perf_counter()
                await _drive(ask, numbers, calls=calls, concurrency=concurrency)
                cpu[name].append((time.process_time() - cpu_before) / calls * 1000)
                rate[name].append(calls / (time.perf_counter() - before))
    bare, own = WAYS
    ratio = statistics.median(b / a for a, b in zip(cpu[bare], cpu[own], strict=True))
    rows = [
        Row(name, round(statistics.median(rate[name]), 1), round(statistics.median(cpu[name]), 3))
        for name in WAYS
    ]
    return rows, ratio


@contextmanager
def responder(*, median: float, core: int | None) -> Iterator[int]:
    """Run the responder; yields its port."""
    command = [sys.executable, "-m", "benchmarks.responder", "--median", str(median)]
    if core is not None:
        command += ["--core", str(core)]
    with subprocess.Popen(  # noqa: S603 - our own module
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the responder has no pipes")
        try:
            yield int(process.stdout.readline())
        finally:
            process.stdin.close()
            process.wait(timeout=10)


def _pin() -> int | None:
    """Stay on one core; returns another one for the responder."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[0]})
    return cores[-1] if len(cores) > 1 else None


def main() -> int:
    """Measure, print, and say whether the goal is met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=500, help="in a round")
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--median", type=float, default=0.0, help="seconds of latency")
    options = parser.parse_args()
    with responder(median=options.median, core=_pin()) as port:
        os.environ["ANTHROPIC_BASE_URL"] = f"http://127.0.0.1:{port}"
        os.environ["ANTHROPIC_API_KEY"] = "key-of-a-benchmark"
        rows, ratio = asyncio.run(measure(options.calls, options.concurrency, options.rounds))
    write = sys.stdout.write
    for row in rows:
        write(f"{row.name:<16}{row.calls_per_second:>10.0f} calls/s{row.cpu_ms:>10.3f} ms CPU\n")
    ok = ratio <= GOAL
    result = {"rows": [asdict(row) for row in rows], "cpu_ratio": round(ratio, 3), "ok": ok}
    write(json.dumps(result) + "\n")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
