"""The desk's look up, without a page."""

import pytest

from pipeline.desk.access import Role
from tests.desk.world import Desk, OneOf, client


async def test_a_reader_looks_up_an_event() -> None:
    desk = Desk(access=OneOf("rita", Role.READER))
    desk.wait_for(1)
    async with client(desk) as browser:
        status, found = await browser.post("/api/lookup", {"wanted": "T-1", "since": EVER})
        assert status == 200
        assert found["passages"][0]["where"] == "waits for a person: review item 0:0"
        assert [each["kind"] for each in found["entries"]] == ["review"]
        assert "from 1970-01-01 00:00 UTC on" in found["sentences"][0]
        _, nothing = await browser.post("/api/lookup", {"wanted": "T-2", "since": EVER})
        assert (nothing["entries"], nothing["passages"]) == ([], [])
        assert "Nothing was found" in nothing["sentences"][1]


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"wanted": "T-1"},
        {"wanted": 1, "since": "1d"},
        {"wanted": "", "since": "1d"},
        {"wanted": "T-1", "since": "lately"},
        {"wanted": "T-1", "since": "1d", "topic": "secrets"},
    ],
)
async def test_what_is_no_question_is_refused(asked: object) -> None:
    async with client(Desk()) as browser:
        status, _ = await browser.post("/api/lookup", asked)
        assert status == 422


EVER = "1970-01-01T00:00"
