"""One process that asks, as fast as its calls under way allow: a bare loop, or the gateway.

It prints one JSON object: what it reached. `benchmarks.throughput` runs it on a core of its own.
"""

import argparse
import asyncio
import gc
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass

import anthropic
import httpx2
import orjson
import uvloop

from benchmarks.tickets import Questions, charged_twice
from pipeline.claude.gateway import Gateway
from pipeline.claude.request_body import Template
from pipeline.config import Settings
from pipeline.model.records import Tier
from pipeline.runtime.process import collect_seldom

Ask = Callable[[int], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Reached:
    """What one way of asking came to.

    Args:
        calls: That ended while it counted.
        per_second: Of them.
        cpu_ms: Of this process, a call.
        p50_ms: From asking to the answer.
        p95_ms: The same.
    """

    calls: int
    per_second: float
    cpu_ms: float
    p50_ms: float
    p95_ms: float


@asynccontextmanager
async def bare(concurrency: int) -> AsyncIterator[Ask]:
    """What a careful user writes: aiohttp transport, raw response, one parse, validation."""
    asked = Questions().of(charged_twice(0))
    template = Template("claude-haiku-5-5", asked.instructions, asked.answer_schema, cache_ttl="5m")
    static = orjson.loads(template.body([], max_output_tokens=asked.max_output_tokens))
    client = anthropic.DefaultAioHttpClient(limits=httpx2.Limits(max_connections=concurrency))
    async with anthropic.AsyncAnthropic(max_retries=0, http_client=client) as sdk:

        async def ask(number: int) -> object:
            content = f"<ticket>\n{charged_twice(number).body}\n</ticket>"
            body = {**static, "messages": [{"role": "user", "content": content}]}
            response = await sdk.post("/v1/messages", cast_to=httpx2.Response, body=body)
            message = orjson.loads(response.content)
            return asked.answer_model.model_validate_json(message["content"][0]["text"])

        yield ask


@asynccontextmanager
async def gateway(concurrency: int) -> AsyncIterator[Ask]:
    """The gateway with its default settings, but for the calls under way."""
    settings = Settings()
    settings.claude.concurrency = concurrency
    questions = Questions()
    async with Gateway(settings) as opened:

        async def ask(number: int) -> object:
            return await opened.ask(questions.of(charged_twice(number)), Tier.HAIKU)

        yield ask


WAYS = {"bare": bare, "gateway": gateway}


async def measure(way: str, concurrency: int, warm_up: float, seconds: float) -> Reached:
    """Ask for a while, and count what ends after the warm-up."""
    took: list[float] = []
    numbers = iter(range(1, sys.maxsize))
    async with WAYS[way](concurrency) as ask:

        async def work() -> None:
            for number in numbers:
                began = time.perf_counter()
                await ask(number)
                took.append(time.perf_counter() - began)

        async with asyncio.TaskGroup() as group:
            workers = [group.create_task(work()) for _ in range(concurrency)]
            await asyncio.sleep(warm_up)
            gc.collect()
            took.clear()
            cpu, began = time.process_time(), time.perf_counter()
            await asyncio.sleep(seconds)
            cpu, passed = time.process_time() - cpu, time.perf_counter() - began
            ended = sorted(took)
            for worker in workers:
                worker.cancel()
    cuts = statistics.quantiles(ended, n=20)
    return Reached(
        len(ended),
        round(len(ended) / passed, 1),
        round(1000 * cpu / len(ended), 4),
        round(1000 * cuts[9], 1),
        round(1000 * cuts[18], 1),
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("way", choices=sorted(WAYS))
    parser.add_argument("--concurrency", type=int, default=256)
    parser.add_argument("--warm-up", type=float, default=4.0, help="seconds")
    parser.add_argument("--seconds", type=float, default=10.0, help="that count")
    options = parser.parse_args()
    collect_seldom()  # as `pipeline run` does, and for both ways alike
    work = measure(options.way, options.concurrency, options.warm_up, options.seconds)
    sys.stdout.write(json.dumps(asdict(uvloop.run(work))) + "\n")


if __name__ == "__main__":
    main()
