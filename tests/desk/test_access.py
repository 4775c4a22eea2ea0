"""Who may do what on the desk: nothing of an event reaches anybody without a role."""

import aiohttp
import pytest

from pipeline.config import AccessSettings, DeskSettings, Settings
from pipeline.desk.access import Person, Role, open_access
from pipeline.desk.server import route_table, serve
from pipeline.model.errors import UsageError
from tests.desk.world import ByHost, Desk, OneOf, client

CASE = "/api/review/0:0"
SECRET = "Charged twice"  # of the event that waits


def waiting(access: OneOf | None = None) -> Desk:
    desk = Desk(access=access)
    desk.wait_for(0)
    return desk


async def test_every_route_but_the_page_itself_needs_a_role() -> None:
    table = route_table([Desk().view], open_access(AccessSettings(), "127.0.0.1"))
    without = {route.path for route in table if route.role is None}
    assert without == {"/", "/page/{name}"}
    changing = {route.role for route in table if route.method != "GET"}
    assert changing == {Role.REVIEWER}


async def test_who_is_not_known_gets_the_page_and_nothing_else() -> None:
    nobody = OneOf()
    nobody.person = None
    async with client(waiting(nobody)) as browser:
        assert (await browser.get("/"))[0] == 200
        for path in ("/api/session", "/api/review", CASE, f"{CASE}/file", "/api/nothing"):
            status, said = await browser.get(path)
            assert status == 401, path
            assert SECRET not in str(said)
        status, said = await browser.post(f"{CASE}/verdict", {"accept": "haiku"})
        assert status == 401


async def test_a_reader_sees_cases_and_decides_none() -> None:
    desk = waiting(OneOf("rita", Role.READER))
    async with client(desk) as browser:
        _, case = await browser.get(CASE)
        assert SECRET in str(case)
        for action in ("claim", "release", "verdict"):
            status, said = await browser.post(f"{CASE}/{action}", {"accept": "haiku"})
            assert status == 403
            assert "needs the role reviewer" in said["error"]
    assert desk.published("tickets.enriched") == []


@pytest.mark.parametrize(
    "headers",
    [
        {"X-CSRF-Token": ""},
        {"X-CSRF-Token": "a replayed one"},
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_a_request_that_is_not_the_pages_own_changes_nothing(headers: dict[str, str]) -> None:
    desk = waiting()
    async with client(desk) as browser:
        status, _ = await browser.post(f"{CASE}/verdict", {"accept": "haiku"}, **headers)
        assert status == 403
        status, _ = await browser.get(CASE, **{"Sec-Fetch-Site": "cross-site"})
        assert status == 403
        assert (await browser.get("/api/review"))[1]["waiting"] == 1


async def test_the_token_of_another_person_is_refused() -> None:
    access = OneOf("ada")
    async with client(waiting(access)) as browser:
        await browser.post(f"{CASE}/claim")
        access.person = Person("grace", Role.REVIEWER)
        status, said = await browser.post(f"{CASE}/release")
        assert (status, said["error"]) == (403, "This page is out of date: load it again.")


async def test_a_name_that_is_not_this_machines_is_answered_nothing() -> None:
    async with client(waiting()) as browser:
        status, said = await browser.get("/api/review", Host="rebound.example")
        assert status == 421
        assert SECRET not in str(said)


async def test_it_refuses_to_be_reached_from_elsewhere_while_it_asks_nobody_who_they_are() -> None:
    settings = Settings(desk=DeskSettings(host="0.0.0.0", port=0))
    with pytest.raises(UsageError, match=r"desk\.host"):
        async with serve(settings):
            pass


async def test_nothing_is_kept_by_caches_nor_framed_nor_loaded_by_other_sites() -> None:
    desk = waiting()
    async with desk.served() as address, aiohttp.ClientSession() as session:
        async with session.get(f"{address}{CASE}") as answer:
            assert answer.headers["Cache-Control"] == "no-store"
            assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
        async with session.get(f"{address}/") as answer:
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "require-trusted-types-for 'script'" in policy
            assert "frame-ancestors 'none'" in policy


async def test_each_person_is_who_the_access_says() -> None:
    desk = Desk(access=ByHost(localhost=Role.REVIEWER))
    desk.wait_for(0)
    async with client(desk) as browser:
        status, _ = await browser.get("/api/session")
        assert status == 401
        status, session = await browser.get("/api/session", Host="localhost")
        assert (status, session["person"], session["role"]) == (200, "localhost", "reviewer")
        assert session["views"][0] == {"name": "review", "title": "Review"}
