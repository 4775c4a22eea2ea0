"""What all requests to one address have in common, as the SDK wrote it once."""

from typing import Self

import httpx2

_OF_ONE_REQUEST = ("content-length", "cookie", "traceparent", "tracestate")
_NEVER_AGAIN = ("idempotency-key",)
"""Where a request carries one of these, the next needs its own, which only the SDK can write."""


class Frame:
    """A request without its body: address, headers, key and time-outs.

    Calls differ in their bodies alone. That the SDK works out the rest for each of them anew costs
    a fifth of the time that an event takes, so it does so for the first, and the others go out in
    the same frame, over the same connections.

    Args:
        request: As it was sent; its body is left out.
    """

    def __init__(self, request: httpx2.Request) -> None:
        self._method = request.method
        self._url = request.url
        self._extensions = dict(request.extensions)
        self._encoding = request.headers.encoding
        self._headers = httpx2.Headers(
            [header for header in request.headers.raw if _name(header) not in _OF_ONE_REQUEST]
        )

    @classmethod
    def of(cls, response: httpx2.Response) -> Self | None:
        """The frame of the request that was answered; None where it is good for that one only."""
        request = response.request
        if response.history or any(name in request.headers for name in _NEVER_AGAIN):
            return None
        return cls(request)

    def around(self, body: bytes) -> httpx2.Request:
        """A request; the transport says how long it is."""
        request = httpx2.Request(
            self._method,
            self._url,
            headers=self._headers,
            stream=httpx2.ByteStream(body),
            extensions=self._extensions,
        )
        # Found out by trying, if it is not said.
        request.headers.encoding = self._encoding
        request.read()
        return request


def _name(header: tuple[bytes, bytes]) -> str:
    return header[0].decode("ascii").lower()
