"""A Messages API that always says the same, as fast as Python can: the other end of a benchmark.

It is started as a program of its own, so that its CPU time is not the client's.
"""

import argparse
import asyncio
import itertools
import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import uvloop

from benchmarks.tickets import QUOTE

ANSWER = {
    "quote": QUOTE,
    "intent": "billing",
    "runner_up": None,
    "several_matters": False,
    "priority": "high",
    "language": "en",
    "summary": "The customer was charged twice for one order and asks for the money back.",
    "confidence": 0.93,
    "unclear": False,
}
"""Right for every `benchmarks.tickets.charged_twice`."""
_NUMBER = b"00000000000000"
"""In the message's id: each answer has one of its own there."""
_MESSAGE = {
    "id": f"msg_01Benchmark{_NUMBER.decode()}",
    "type": "message",
    "role": "assistant",
    "model": "claude-haiku-5-5",
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "stop_details": None,
    "container": None,
    "usage": {
        "input_tokens": 41,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 702,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": 38,
        "output_tokens_details": {"thinking_tokens": 0},
        "service_tier": "standard",
        "inference_geo": "global",
    },
}
_numbers = itertools.count(1)
_LIMITS = {"requests": 10**9, "input-tokens": 10**12, "output-tokens": 10**12, "tokens": 10**12}


def _response(answer: str) -> bytes:
    message = _MESSAGE | {"content": [{"type": "text", "text": answer}]}
    body = json.dumps(message).encode()
    headers = [
        "HTTP/1.1 200 OK",
        "date: Sun, 22 Nov 2026 10:00:00 GMT",
        "content-type: application/json",
        f"content-length: {len(body)}",
        "request-id: req_011CBenchmark0000000000",
        "anthropic-organization-id: 00000000-0000-4000-8000-000000000000",
    ]
    for kind, limit in _LIMITS.items():
        prefix = f"anthropic-ratelimit-{kind}"
        headers += [
            f"{prefix}-limit: {limit}",
            f"{prefix}-remaining: {limit}",
            f"{prefix}-reset: 2026-11-22T10:00:00Z",
        ]
    return "\r\n".join(headers).encode() + b"\r\n\r\n" + body


class _Connection(asyncio.Protocol):
    def __init__(self, delay: Callable[[], float], response: bytes) -> None:
        self._delay = delay
        self._response = response
        self._at = response.index(_NUMBER)
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, rest = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        at = head.lower().find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        delay = self._delay()
        if delay <= 0:
            self._answer()
        else:
            asyncio.get_running_loop().call_later(delay, self._answer)

    def _answer(self) -> None:
        if not self._transport.is_closing():
            number = b"%014d" % next(_numbers)
            head, rest = self._response[: self._at], self._response[self._at + len(number) :]
            self._transport.write(head + number + rest)


async def _serve(median: float, sigma: float, answer: str) -> None:
    draws = random.Random(1)  # noqa: S311 - repeatable, not secret

    def delay() -> float:
        return median * draws.lognormvariate(0.0, sigma) if median else 0.0

    response = _response(answer)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(delay, response), "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    # The parent holds the other end of standard input: it closes when the parent is gone.
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


@contextmanager
def responder(*, median: float, answer: Mapping[str, object] = ANSWER) -> Iterator[int]:
    """Run it as a program of its own, where this process may run; yields its port."""
    command = [sys.executable, "-m", "benchmarks.responder", "--median", str(median)]
    command += ["--answer", json.dumps(answer)]
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


def main() -> None:
    """Serve until standard input ends; the first line printed is the port."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--median", type=float, default=0.0, help="seconds of delay, log-normal")
    parser.add_argument("--sigma", type=float, default=0.3)
    parser.add_argument("--answer", default=json.dumps(ANSWER), help="what it says, as JSON")
    options = parser.parse_args()
    uvloop.run(_serve(options.median, options.sigma, options.answer))


if __name__ == "__main__":
    main()
