"""What is kept of a request for those that follow it."""

import httpx2
import pytest

from pipeline.claude.connections import Frame

URL = "https://api.example.com:8443/base/v1/messages"


def answered(**headers: str) -> httpx2.Response:
    request = httpx2.Request(
        "POST",
        URL,
        headers={"authorization": "Bearer key", "x-name": "own"} | headers,
        content=b"{}",
        extensions={"timeout": {"connect": 3}},
    )
    return httpx2.Response(200, request=request)


def test_a_frame_is_the_address_and_the_headers_of_its_request() -> None:
    response = answered()
    frame = Frame.of(response)
    assert frame is not None
    assert frame.url == URL
    expected = dict(response.request.headers)
    del expected["content-length"], expected["host"]
    assert frame.headers == expected


@pytest.mark.parametrize("name", ["cookie", "traceparent", "tracestate", "content-length"])
def test_what_belongs_to_one_request_is_left_out(name: str) -> None:
    frame = Frame.of(answered(**{name: "1"}))
    assert frame is not None
    assert name not in frame.headers


def test_a_request_with_a_key_of_its_own_is_no_frame_for_others() -> None:
    assert Frame.of(answered(**{"Idempotency-Key": "1"})) is None


def test_a_request_that_was_sent_on_is_no_frame_for_others() -> None:
    response = answered()
    response.history = [httpx2.Response(307)]
    assert Frame.of(response) is None
