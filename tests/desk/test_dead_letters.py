"""Dead letters by the desk's routes: what is shown of them, and that each is put back once."""

import asyncio
import base64
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import orjson
import pytest
from aiokafka.errors import KafkaError

from pipeline.desk.access import Role
from pipeline.stream.protocols import BrokerError
from tests.desk.world import Client, Desk, OneOf, client

OVER = ("result", "problem")


def put_aside(
    desk: Desk,
    value: bytes | None = b'{"id": "T-1"}',
    *,
    key: bytes | None = b"customer-1",
    reason: str = "invalid_json",
    stage: str = "tickets",
    headers: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Have a dead letter be there."""
    said = {
        "dlq-topic": "tickets.raw", "dlq-partition": "0", "dlq-offset": "7", "dlq-stage": stage,
        "dlq-reason": reason, "dlq-detail": "It is not JSON.", "dlq-version": "0.1.0",
        "dlq-timestamp": "2026-11-30T10:00:00+00:00", **headers,
    }  # fmt: skip
    carried = tuple((name, text.encode()) for name, text in said.items())
    desk.broker.publish("dead-letters", value, key=key, headers=carried)


async def replayed(browser: Client) -> dict[str, Any]:
    found = await browser.until(
        "/api/dead-letters/replay",
        lambda said: said["replay"] and any(said["replay"][each] is not None for each in OVER),
    )
    last: dict[str, Any] = found["replay"]
    return last


async def test_dead_letters_are_listed_by_reason_and_by_whether_they_were_put_back() -> None:
    desk = Desk()
    put_aside(desk)
    put_aside(desk, reason="model_refused", stage="images")
    async with client(desk) as browser:
        _, found = await browser.get("/api/dead-letters?state=open")
        assert [each["place"] for each in found["lines"]] == ["0:1", "0:0"]
        assert found["reasons"] == {"invalid_json": 1, "model_refused": 1}
        _, found = await browser.get("/api/dead-letters?reason=model_refused&stage=images")
        assert [each["place"] for each in found["lines"]] == ["0:1"]
        _, found = await browser.get("/api/dead-letters?since=1h")
        assert found["matching"] == 0
        await browser.post("/api/dead-letters/replay", {"place": ["0:0"]})
        await replayed(browser)
        _, found = await browser.get("/api/dead-letters?state=replayed")
        assert [(each["place"], each["replayed"]) for each in found["lines"]] == [("0:0", 1)]
        _, found = await browser.get("/api/dead-letters?state=open")
        assert [each["place"] for each in found["lines"]] == ["0:1"]


async def test_what_a_value_holds_comes_as_bounded_printable_text() -> None:
    desk = Desk()
    put_aside(desk, b"\x00\xff\x1b[31m" * 10_000)
    put_aside(desk, ("<script>\x1b[2J" + "a" * 10_000).encode())
    put_aside(desk, None)
    async with client(desk) as browser:
        _, binary = await browser.get("/api/dead-letters/0:0")
        assert len(binary["value"]) < 30_000
        assert "00 ff 1b" in binary["value"]
        _, text = await browser.get("/api/dead-letters/0:1")
        assert text["value"].startswith("<script>")
        assert "\x1b" not in binary["value"] + text["value"]
        assert "characters more" in text["value"]
        _, empty = await browser.get("/api/dead-letters/0:2")
        assert (empty["value"], empty["detail"]) == ("", "It is not JSON.")
        status, said = await browser.get("/api/dead-letters/0:9")
        assert (status, "no dead letter at 0:9" in said["error"]) == (404, True)


async def test_a_rehearsal_says_what_would_go_where_and_changes_nothing() -> None:
    desk = Desk()
    put_aside(desk)
    async with client(desk) as browser:
        status, said = await browser.post("/api/dead-letters/rehearsal", {"reason": "invalid_json"})
        assert (status, said["replayed"]) == (200, 1)
        assert said["sentence"].startswith("1 would be replayed (1 to tickets.raw)")
    assert desk.published("tickets.raw") == []
    assert desk.published("audit") == []


async def test_what_is_chosen_is_put_back_once_in_the_name_of_the_person() -> None:
    desk = Desk()
    put_aside(desk)
    put_aside(desk, b'{"id": "T-2"}')
    async with client(desk) as browser:
        status, _ = await browser.post("/api/dead-letters/replay", {"place": ["0:1"]})
        assert status == 202
        assert (await replayed(browser))["result"]["replayed"] == 1
        # Once more, as a form that is sent twice would.
        await browser.post("/api/dead-letters/replay", {"place": ["0:1"]})
        assert (await replayed(browser))["result"]["done_before"] == 1
    assert desk.published("tickets.raw") == [{"id": "T-2"}]
    audited = desk.published("audit")
    assert [(each["person"], each["did"], each["count"]) for each in audited] == [
        ("ada", "replayed", 1)
    ]
    assert audited[0]["selected"] == {"place": ["0:1"]}


async def test_nothing_is_put_back_without_saying_what() -> None:
    desk = Desk()
    put_aside(desk)
    refused = [{}, {"place": []}, {"stage": ""}, {"rate": 0}, {"place": "x"}, {"everything": True},
               {"reason": 3}, {"reason": "a", "rate": True}, {"reason": "a", "again": 1},
               {"place": ["0:0"] * 1001}]  # fmt: skip
    async with client(desk) as browser:
        for given in refused:
            status, said = await browser.post("/api/dead-letters/replay", given)
            assert (status, bool(said["error"])) == (422, True), given
        assert (await browser.get("/api/dead-letters/replay"))[1] == {"replay": None}
    assert desk.published("tickets.raw") == []


async def test_two_replays_do_not_run_at_once() -> None:
    desk = Desk()
    for _ in range(3):
        put_aside(desk)
    async with client(desk) as browser:
        slow = {"reason": "invalid_json", "rate": 1}
        assert (await browser.post("/api/dead-letters/replay", slow))[0] == 202
        status, said = await browser.post("/api/dead-letters/replay", slow)
        assert (status, "ada is under way" in said["error"]) == (409, True)
    # The desk was stopped meanwhile: what was put back is marked, and nothing came twice.
    assert len(desk.published("tickets.raw")) < 3


@pytest.mark.parametrize("error", [BrokerError("They are away."), KafkaError("They are away.")])
async def test_brokers_that_are_away_leave_a_sentence_and_the_desk_goes_on(
    error: Exception,
) -> None:
    desk = Desk()
    put_aside(desk)
    desk.publishing_fails = error
    async with client(desk) as browser:
        await browser.post("/api/dead-letters/replay", {"place": ["0:0"]})
        assert "They are away." in (await replayed(browser))["problem"]
        desk.publishing_fails = None
        await browser.post("/api/dead-letters/replay", {"place": ["0:0"]})
        assert (await replayed(browser))["result"]["replayed"] == 1


async def test_what_cannot_be_put_back_is_named_and_the_rest_can() -> None:
    desk = Desk()
    put_aside(desk)
    put_aside(desk, headers={"dlq-topic": ""})
    async with client(desk) as browser:
        await browser.post("/api/dead-letters/replay", {"place": ["0:1"]})
        result = (await replayed(browser))["result"]
        assert (result["replayed"], result["refused"]) == (0, 1)
        assert result["refusals"][0]["place"] == "0:1"
        await browser.post("/api/dead-letters/replay", {"place": ["0:0"]})
        assert (await replayed(browser))["result"]["replayed"] == 1
    assert len(desk.published("tickets.raw")) == 1


async def test_an_export_has_the_bytes_and_is_saved_and_never_shown() -> None:
    desk = Desk()
    put_aside(desk, b"\xff<script>")
    put_aside(desk, reason="model_refused")
    async with client(desk) as browser:
        status, body = await browser.get("/api/dead-letters/export?reason=invalid_json")
        assert status == 200
        [line] = [orjson.loads(each) for each in body.splitlines()]
        assert base64.b64decode(line["value"]) == b"\xff<script>"


async def test_who_is_no_operator_sees_and_puts_nothing_back() -> None:
    desk = Desk(access=OneOf("grace", Role.REVIEWER))
    put_aside(desk)
    async with client(desk) as browser:
        assert (await browser.get("/api/dead-letters"))[0] == 200
        for route in ("rehearsal", "replay"):
            status, _ = await browser.post(f"/api/dead-letters/{route}", {"place": ["0:0"]})
            assert status == 403
    await asyncio.sleep(0)
    assert desk.published("tickets.raw") == []
