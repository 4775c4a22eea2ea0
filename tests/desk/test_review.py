"""Review by the desk's routes: what waits, what is shown, and each verdict once."""

from tests.desk.world import INVOICE, Desk, client


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
