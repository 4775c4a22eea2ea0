"""The shorter way to a request ends where the SDK's own ends."""

import anthropic
import httpx2
import pytest

from pipeline.claude.building import HttpClient

URL = httpx2.URL("https://api.example.com:8443/base/v1/messages")
HEADERS = httpx2.Headers(
    {"User-Agent": "the SDK", "accept": "application/json", "X-Name": "é"}, encoding="utf-8"
)
TIMEOUT = httpx2.Timeout(None, connect=3)


def built(client: httpx2.AsyncClient, **options: object) -> httpx2.Request:
    given = {"content": b'{"n":1}', "headers": HEADERS, "timeout": TIMEOUT, **options}
    return client.build_request("POST", given.pop("url", URL), **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"content": b""},
        {"params": None, "files": None},
        {"params": {"beta": "true"}},
        {"extensions": {"sni_hostname": "a-b"}},
        {"timeout": 4.0},
        {"url": "https://api.example.com/v1/messages"},
    ],
)
async def test_a_request_is_the_same_as_without_it(options: dict[str, object]) -> None:
    async with HttpClient() as short, anthropic.DefaultAioHttpClient() as long:
        for client in (short, long):
            client.cookies.set("session", "1")
        found, expected = built(short, **options), built(long, **options)
    assert (found.method, found.url) == (expected.method, expected.url)
    assert found.content == expected.content
    assert found.extensions == expected.extensions
    assert sorted(found.headers.multi_items()) == sorted(expected.headers.multi_items())
