"""The desk itself behind a way in."""

import hashlib

import pytest

from pipeline.config import AccessSettings
from pipeline.desk.access import PUBLIC, Access, open_access
from pipeline.desk.access.ways import ThisMachine
from pipeline.desk.server import application, route_table
from tests.desk.world import Desk, client

TOKEN = "t" * 43
TOKENS = AccessSettings.model_validate({
    "way": "tokens",
    "tokens": {"Ada": {"role": "reader", "sha256": hashlib.sha256(TOKEN.encode()).hexdigest()}},
})  # fmt: skip


def test_only_files_of_the_page_and_signing_in_are_open_to_anybody() -> None:
    desk = Desk()
    table = route_table([desk.view], open_access(TOKENS, "127.0.0.1"))
    assert {route.path for route in table if route.role is None} == {"/", "/page/{name}", "/login"}
    assert "/login" in PUBLIC


async def test_nothing_of_a_case_reaches_anybody_without_a_session() -> None:
    desk = Desk()
    desk.wait_for(0)
    desk.access = open_access(TOKENS, "127.0.0.1")
    async with client(desk) as browser:
        for route in route_table([desk.view], desk.access):
            if route.role is None:
                continue
            path = route.path.replace("{place}", "0:0").replace("{number}", "1")
            send = browser.get if route.method == "GET" else browser.post
            status, said = await send(path)
            assert (status, "T-0" in str(said)) == (401, False), route.path
        status, listed = await browser.get("/api/review", Authorization=f"Bearer {TOKEN}")
        assert [each["event_id"] for each in listed["cases"]] == ["T-0"]
        status, _ = await browser.post(
            "/api/review/0:0/verdict", {"accept": "sonnet"}, Authorization=f"Bearer {TOKEN}"
        )
        assert status == 403


async def test_who_opens_the_page_without_a_session_is_led_to_sign_in() -> None:
    desk = Desk()
    desk.access = open_access(TOKENS, "127.0.0.1")
    async with client(desk) as browser:
        _, page = await browser.get("/", Accept="text/html")
        assert b'name="token"' in page


@pytest.mark.parametrize("url", [None, "https://desk.example.com"])
async def test_it_answers_to_the_name_that_people_call_it_by_and_no_other(url: str | None) -> None:
    desk = Desk()
    desk.access = Access(AccessSettings(url=url), ThisMachine())
    assert application([desk.view], desk.access)
    async with client(desk) as browser:
        expected = 421 if url is None else 200
        assert (await browser.get("/api/session", Host="desk.example.com"))[0] == expected
        assert (await browser.get("/api/session", Host="evil.example"))[0] == 421
