"""Review by the desk's routes: what waits, what is shown, and each verdict once."""

import asyncio
import base64

import pytest

from pipeline.desk.access import Role
from pipeline.stream.protocols import TopicPartition
from tests.desk.world import INVOICE, SAMPLES, ByHost, Desk, client, file_of

ENDS = {"published", "elsewhere", "failed"}


async def test_what_waits_is_listed_and_a_verdict_publishes_it_once() -> None:
    desk = Desk()
    for number in range(3):
        desk.wait_for(number)
    async with client(desk) as browser:
        _, listed = await browser.get("/api/review")
        assert [each["event_id"] for each in listed["cases"]] == ["T-0", "T-1", "T-2"]
        status, _ = await browser.post("/api/review/0:1/verdict", {"accept": "sonnet"})
        assert status == 202
        await browser.until("/api/review/verdicts", lambda found: found[0]["state"] == "published")
        _, listed = await browser.get("/api/review")
        assert [each["event_id"] for each in listed["cases"]] == ["T-0", "T-2"]
    [record] = desk.published("tickets.enriched")
    assert (record["event_id"], record["decided_by"]) == ("T-1", "human")
    assert record["result"]["intent"] == "sales"
    [audit] = desk.published("audit")
    assert (audit["person"], audit["did"], audit["command"]) == ("ada", "resolved", "desk review")


async def test_a_page_of_a_pdf_and_of_an_image_is_drawn_and_never_sent_as_it_came() -> None:
    desk = Desk()
    desk.invoice(0)
    desk.image(1)
    async with client(desk) as browser:
        for place in ("0:0", "0:1"):
            status, case = await browser.get(f"/api/review/{place}")
            assert status == 200
            assert "data" not in str(case["event"]["file"])
            _, file = await browser.get(f"/api/review/{place}/file")
            assert (file["pages"], file["problem"]) == (1, None)
            status, drawn = await browser.get(f"/api/review/{place}/pages/1?edge=1600")
            assert status == 200
            assert drawn.startswith(b"\xff\xd8\xff")
            original = desk.published("review")[int(place[-1])]["event"]["file"]["data"]
            assert drawn.hex() not in original


async def test_a_corrected_invoice_is_held_to_the_schema() -> None:
    desk = Desk()
    desk.invoice(0)
    async with client(desk) as browser:
        wrong = {**INVOICE, "due": "a lot"}
        status, said = await browser.post("/api/review/0:0/verdict", {"result": wrong})
        assert status == 422
        assert said["faults"][0]["field"] == "due"
        right = {**INVOICE, "due": "120.00"}
        status, _ = await browser.post("/api/review/0:0/verdict", {"result": right})
        assert status == 202
        await browser.until("/api/review/verdicts", lambda found: found[0]["state"] == "published")
    [record] = desk.published("invoices.enriched")
    assert record["result"]["due"] == "120.00"


async def test_a_rejected_case_is_a_dead_letter_with_the_reason_and_the_raw_record() -> None:
    desk = Desk()
    desk.wait_for(0)
    async with client(desk) as browser:
        status, said = await browser.post("/api/review/0:0/verdict", {"dead_letter": "  "})
        assert (status, said["error"]) == (422, "Say why, in at most 500 characters.")
        status, _ = await browser.post("/api/review/0:0/verdict", {"dead_letter": "An advert."})
        assert status == 202
        await browser.until("/api/review/verdicts", lambda found: found[0]["state"] == "published")
    # The raw record is gone, so the letter has the event as it was read.
    [letter] = desk.published("dead-letters")
    assert letter["body"] == "Charged twice"
    [entry] = [e for entries in desk.broker.committed_records("dead-letters").values()
               for e in entries]  # fmt: skip
    assert entry.record is not None
    headers = dict(entry.record.headers)
    assert headers["dlq-reason"] == b"invalid_event"
    assert headers["dlq-detail"] == b"A person put it aside: An advert."
    assert headers["dlq-topic"] == b"tickets.raw"
    [audit] = desk.published("audit")
    assert audit["did"] == "rejected"


async def test_a_verdict_can_be_undone_and_the_case_is_open_again() -> None:
    desk = Desk(undo_seconds=60)
    desk.wait_for(0)
    async with client(desk) as browser:
        _, given = await browser.post("/api/review/0:0/verdict", {"accept": "haiku"})
        assert (await browser.get("/api/review"))[1]["cases"] == []
        status, said = await browser.post("/api/review/0:0/verdict", {"accept": "sonnet"})
        assert (status, "undo it first" in said["error"]) == (409, True)
        status, _ = await browser.post(f"/api/review/verdicts/{given['number']}/undo")
        assert status == 200
        [line] = (await browser.get("/api/review"))[1]["cases"]
        assert line["claimed_by"] == "ada"
        status, _ = await browser.post(f"/api/review/verdicts/{given['number']}/undo")
        assert status == 409
    assert desk.published("tickets.enriched") == []


async def test_a_case_that_one_person_works_on_is_not_anothers() -> None:
    desk = Desk(access=ByHost(ada=Role.REVIEWER, grace=Role.REVIEWER))
    desk.wait_for(0)
    desk.wait_for(1)
    ada, grace = {"Host": "ada.localhost"}, {"Host": "grace.localhost"}
    async with client(desk) as browser:
        tokens = {
            name: (await browser.get("/api/session", **host))[1]["csrf"]
            for name, host in (("ada", ada), ("grace", grace))
        }
        assert tokens["ada"] != tokens["grace"]
        browser.token = tokens["ada"]
        assert (await browser.post("/api/review/0:0/claim", **ada))[0] == 200
        browser.token = tokens["grace"]
        status, said = await browser.post("/api/review/0:0/claim", **grace)
        assert (status, said["error"][:25]) == (409, "ada works on this case: t")
        verdict = {"accept": "haiku"}
        assert (await browser.post("/api/review/0:0/verdict", verdict, **grace))[0] == 409
        assert (await browser.post("/api/review/0:1/verdict", verdict, **grace))[0] == 202


async def test_two_desks_publish_one_verdict_and_the_later_one_learns_of_it() -> None:
    one = Desk(process="one", undo_seconds=0.0)
    other = Desk(process="other", broker=one.broker, undo_seconds=0.0)
    one.wait_for(0)
    async with client(one) as here, client(other) as there:
        answers = await asyncio.gather(
            here.post("/api/review/0:0/verdict", {"accept": "haiku"}),
            there.post("/api/review/0:0/verdict", {"accept": "sonnet"}),
        )
        assert [status for status, _ in answers] == [202, 202]
        ends = [
            (await each.until("/api/review/verdicts", lambda found: found[0]["state"] in ENDS))[0]
            for each in (here, there)
        ]
    assert sorted(each["state"] for each in ends) == ["elsewhere", "published"]
    assert len(one.published("tickets.enriched")) == 1


async def test_a_desk_that_dies_before_it_published_leaves_the_case_open_for_the_next() -> None:
    desk = Desk(undo_seconds=3600)
    desk.wait_for(0)
    async with client(desk) as browser:
        await browser.post("/api/review/0:0/verdict", {"accept": "haiku"})
        after = Desk(process="after", broker=desk.broker)
        async with client(after) as later:
            assert (await later.get("/api/review"))[1]["waiting"] == 1
            await later.post("/api/review/0:0/verdict", {"accept": "sonnet"})
            await later.until("/api/review/verdicts", lambda found: found[0]["state"] in ENDS)
    # The first one published at its end, and was refused.
    assert [each["result"]["intent"] for each in desk.published("tickets.enriched")] == ["sales"]


async def test_a_record_that_is_gone_is_said_to_be_and_waits_no_more() -> None:
    desk = Desk()
    desk.wait_for(0)
    async with client(desk) as browser:
        desk.broker.log(TopicPartition("review", 0)).trim(1)
        status, said = await browser.get("/api/review/0:0")
        assert (status, "There is no review item" in said["error"]) == (404, True)
        assert (await browser.get("/api/review"))[1]["waiting"] == 0


@pytest.mark.parametrize(
    "body",
    [{}, {"accept": "opus"}, {"accept": "haiku", "result": {}}, {"result": []}, {"result": 1},
     {"dead_letter": "x" * 501}],
)  # fmt: skip
async def test_what_is_no_verdict_is_refused(body: object) -> None:
    desk = Desk()
    desk.wait_for(0)
    async with client(desk) as browser:
        assert (await browser.post("/api/review/0:0/verdict", body))[0] == 422
        assert (await browser.get("/api/review"))[1]["waiting"] == 1


@pytest.mark.parametrize("name", ["damaged.png", "encrypted.pdf", "decompression-bomb.png"])
async def test_a_file_that_cannot_be_shown_says_why_and_costs_nothing_else(name: str) -> None:
    desk, kind = Desk(), "application/pdf" if name.endswith("pdf") else "image/png"
    desk.image(0, event={"id": "D-0", "file": file_of(SAMPLES / "broken" / name, kind)})
    desk.image(1)
    async with client(desk) as browser:
        _, file = await browser.get("/api/review/0:0/file")
        assert file["pages"] == 0
        assert file["problem"].startswith("This file cannot be shown: ")
        status, said = await browser.get("/api/review/0:0/pages/1")
        assert (status, set(said)) == (422, {"error"})
        assert (await browser.get("/api/review/0:1/file"))[1]["pages"] == 1


async def test_html_and_xml_files_are_shown_as_text() -> None:
    desk = Desk()
    markup = b"<!doctype html><html><body><p>Total <b>5 EUR</b></p><script>x</script></body></html>"
    file = {"media_type": "text/html", "data": base64.b64encode(markup).decode()}
    desk.invoice(0, event={"id": "I-0", "file": file})
    invoice = b"<?xml version='1.0'?><Invoice xmlns='urn:x'><Total>5</Total></Invoice>"
    file = {"media_type": "application/xml", "data": base64.b64encode(invoice).decode()}
    desk.invoice(1, event={"id": "I-1", "file": file})
    async with client(desk) as browser:
        _, shown = await browser.get("/api/review/0:0/file")
        assert "Total 5 EUR" in shown["text"]
        assert "script" not in shown["text"]
        _, shown = await browser.get("/api/review/0:1/file")
        assert "<Total>5</Total>" in shown["text"]
        assert (await browser.get("/api/review/0:0/pages/1"))[0] == 422


async def test_pages_are_drawn_in_sizes_that_are_offered_and_no_others() -> None:
    desk = Desk()
    desk.image(0)
    async with client(desk) as browser:
        _, case = await browser.get("/api/review/0:0")
        assert case["edges"] == [1000, 1600, 2400]
        assert (await browser.get("/api/review/0:0/pages/1?edge=1001"))[0] == 422
        assert (await browser.get("/api/review/0:0/pages/1?edge=99999999"))[0] == 422
        assert (await browser.get("/api/review/0:0/pages/2"))[0] == 422
