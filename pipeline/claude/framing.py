"""What all requests to one address have in common, as the SDK wrote it once."""

from typing import Self

import aiohttp
import httpx2

from pipeline.claude.replies import HttpReply

_OF_ONE_REQUEST = ("content-length", "cookie", "host", "traceparent", "tracestate")
LARGEST_BODY = 4 << 20
"""Bytes of a response: an answer has some 100 KB, and whoever sends more must not fill memory."""
_NEVER_AGAIN = ("idempotency-key",)
"""Where a request carries one of these, the next needs its own, which only the SDK can write."""


class Frame:
    """A request without its body: method, address, headers and key.

    Calls differ in their bodies alone. The SDK would work out the rest for each of them anew; so
    it does it once, and the others go out in the same frame. What that saves is the difference
    between loop and gateway in `python -m benchmarks.throughput`.

    Args:
        request: As it was sent; its body is left out.
    """

    def __init__(self, request: httpx2.Request) -> None:
        self._method = request.method
        self.url = str(request.url)
        self.headers = {
            name: value for name, value in request.headers.items() if name not in _OF_ONE_REQUEST
        }

    @classmethod
    def of(cls, response: httpx2.Response) -> Self | None:
        """The frame of the request that was answered; None where it is good for that one only."""
        request = response.request
        if response.history or any(name in request.headers for name in _NEVER_AGAIN):
            return None
        return cls(request)

    async def send(self, session: aiohttp.ClientSession, body: bytes) -> HttpReply:
        """Send another request.

        Raises:
            aiohttp.ClientError: There is no response, or half of one.
        """
        async with session.request(
            self._method, self.url, headers=self.headers, data=body, allow_redirects=False
        ) as response:
            return HttpReply(response.status, response.raw_headers, await _read(response))


async def _read(response: aiohttp.ClientResponse) -> bytes:
    if response.headers.get("content-encoding") is None and (
        (response.content_length or LARGEST_BODY + 1) <= LARGEST_BODY
    ):
        return await response.read()
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > LARGEST_BODY:
            raise aiohttp.ClientPayloadError(f"the response has more than {LARGEST_BODY:,} bytes")
        chunks.append(chunk)
    return b"".join(chunks)
