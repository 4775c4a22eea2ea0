"""A Messages API whose connections get out of step, in every way that a proxy's can.

Raw bytes over asyncio: no HTTP server would let itself be made to do this.
"""

import asyncio
import random
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import orjson

from pipeline.claude.client import SdkClient
from pipeline.claude.responses import HttpReply

PLAIN = "plain"
_ERROR = (
    b"HTTP/1.1 504 Gateway Timeout\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>"
)
_SENT: dict[str, Callable[[bytes, bytes], tuple[bytes, bytes, bytes]]] = {
    PLAIN: lambda own, _: (own, b"", b""),
    "twice_at_once": lambda own, _: (own + own, b"", b""),
    "twice_after_a_while": lambda own, _: (own, own, b""),
    "twice_when_asked_again": lambda own, _: (own, b"", own),
    "twice_split_over_the_next_request": lambda own, _: (own + own[:50], b"", own[50:]),
    "another_ones_first": lambda own, other: (other + own, b"", b""),
    "an_error_and_then_the_answer": lambda own, _: (_ERROR, own, b""),
    "an_error_and_the_answer_when_asked_again": lambda own, _: (_ERROR, b"", own),
}
"""What is sent for a response, given another one of before: at once, after a while, and when the
next request begins."""
IN_PIECES = "in_pieces"
AT_THE_START = "a_timeout_before_anything_is_asked"
MISBEHAVIOURS = (*sorted(_SENT.keys() - {PLAIN}), IN_PIECES, AT_THE_START)
SHARE = 0.1
"""Of the answers, that are sent in the way of the server's misbehaviour."""
_MOST_SECONDS = 0.004


def asked(number: int) -> bytes:
    """The body of a request."""
    return orjson.dumps({"model": "claude-haiku-5-5", "number": number})


@dataclass
class Misbehaving:
    """Answers each request with its number.

    Args:
        kind: One of `MISBEHAVIOURS`, or `PLAIN`.
        has_ids: Whether each answer has an id of its own; otherwise all have the same.
    """

    kind: str
    has_ids: bool = True
    url: str = ""
    connections: int = 0
    requests: int = 0
    misbehaved: int = 0
    draws: random.Random = field(default_factory=lambda: random.Random(7))
    older: deque[bytes] = field(default_factory=lambda: deque(maxlen=50))

    def response(self, number: int) -> bytes:
        self.requests += 1
        body = orjson.dumps(
            {
                "id": f"msg_{self.requests}" if self.has_ids else "msg_1",
                "type": "message",
                "content": [{"type": "text", "text": str(number)}],
            }
        )
        made = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
        return made % (len(body), body)

    def misbehaves(self) -> bool:
        if self.kind == PLAIN or self.draws.random() >= SHARE:
            return False
        self.misbehaved += 1
        return True

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        owed = b""
        if self.kind == AT_THE_START and self.misbehaves():
            writer.write(_ERROR)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                # What was held back comes at the very moment at which the next one is waited for.
                writer.write(owed)
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                number = orjson.loads(await reader.readexactly(length))["number"]
                await asyncio.sleep(self.draws.random() * _MOST_SECONDS)
                response = self.response(number)
                owed = await self.answer(writer, response)
                self.older.append(response)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def answer(self, writer: asyncio.StreamWriter, response: bytes) -> bytes:
        """Answer, in good order or not; returns what is held back until the next request."""
        kind = self.kind if self.misbehaves() else PLAIN
        if kind == IN_PIECES:
            for at in range(0, len(response), 60):
                writer.write(response[at : at + 60])
                await writer.drain()
                await asyncio.sleep(self.draws.random() * _MOST_SECONDS)
            return b""
        other = self.draws.choice(self.older) if self.older else b""
        at_once, later, owed = _SENT.get(kind, _SENT[PLAIN])(response, other)
        writer.write(at_once)
        if later:
            seconds = self.draws.random() * _MOST_SECONDS
            asyncio.get_running_loop().call_later(seconds, _write, writer, later)
        return owed


def _write(writer: asyncio.StreamWriter, data: bytes) -> None:
    if not writer.transport.is_closing():
        writer.write(data)


@asynccontextmanager
async def misbehaving(
    kind: str, *, set_env: Callable[[str, str], None], has_ids: bool = True
) -> AsyncIterator[Misbehaving]:
    """Run one, and point the SDK's own variables at it."""
    api = Misbehaving(kind, has_ids)
    async with await asyncio.start_server(api.serve, "127.0.0.1", 0) as server:
        api.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        set_env("ANTHROPIC_BASE_URL", api.url)
        set_env("ANTHROPIC_API_KEY", "key-of-a-test")
        yield api
        server.close()


async def ask_all(client: SdkClient, count: int, *, at_once: int) -> Counter[str]:
    """Ask that often, each until it is answered; counts answers by whose they are."""
    found: Counter[str] = Counter()
    numbers = iter(range(count))

    async def ask_some() -> None:
        for number in numbers:
            while not isinstance(
                reply := await client.send(asked(number), seconds=20), HttpReply
            ) or (reply.status != 200):
                found["asked_again"] += 1
            text = orjson.loads(reply.body)["content"][0]["text"]
            found["right" if text == str(number) else "wrong"] += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(ask_some())
    return found
