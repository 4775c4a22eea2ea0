"""What is kept of a request for those that follow it."""

import httpx2
import pytest

from pipeline.claude.framing import Frame

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


def test_another_body_goes_out_in_the_same_frame() -> None:
    response = answered()
    frame = Frame.of(response)
    assert frame is not None
    request = frame.around(b'{"n":1}')
    assert (request.method, str(request.url)) == ("POST", URL)
    assert request.content == b'{"n":1}'
    assert request.extensions == {"timeout": {"connect": 3}}
    expected = dict(response.request.headers)
    del expected["content-length"]
    assert dict(request.headers) == expected


def test_requests_in_a_frame_share_nothing_that_can_be_changed() -> None:
    frame = Frame.of(answered())
    assert frame is not None
    frame.around(b"{}").headers["x-name"] = "other"
    frame.around(b"{}").extensions["timeout"] = None
    again = frame.around(b"{}")
    assert (again.headers["x-name"], again.extensions) == ("own", {"timeout": {"connect": 3}})


@pytest.mark.parametrize("name", ["cookie", "traceparent", "tracestate", "content-length"])
def test_what_belongs_to_one_request_is_left_out(name: str) -> None:
    frame = Frame.of(answered(**{name: "1"}))
    assert frame is not None
    assert name not in frame.around(b"{}").headers


def test_a_request_with_a_key_of_its_own_is_no_frame_for_others() -> None:
    assert Frame.of(answered(**{"Idempotency-Key": "1"})) is None


def test_a_request_that_was_sent_on_is_no_frame_for_others() -> None:
    response = answered()
    response.history = [httpx2.Response(307)]
    assert Frame.of(response) is None
