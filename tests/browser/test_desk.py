"""The desk in a real browser, by keyboard alone, over the broker in memory."""

from typing import Any

import pytest

from pipeline.desk.access import Role
from pipeline.model.records import Doubt
from tests.browser.chromium import Chromium, Look, Page
from tests.browser.test_page import SHOTS, violations
from tests.desk.world import IMAGE, INVOICE, ByHost, Desk, OneOf
from tests.operators.review.items import RESULT

pytestmark = pytest.mark.asyncio(loop_scope="module")

LOOKS = {
    "desktop-light": Look(1280, 900),
    "desktop-dark": Look(1280, 900, dark=True),
    "phone-light": Look(390, 844, scale=2),
    "phone-dark": Look(390, 844, dark=True, scale=2),
}
HOSTILE = '"><img src=//elsewhere.example/x onerror="document.title=1"><script>document.title=1'
DRAWN = "document.querySelector('.leaf img')?.naturalWidth > 0"
ENTER = {"code": 13}


async def opened(browser: Chromium, address: str, cases: int, look: Look | None = None) -> Page:
    page = await browser.open(address, look)
    await page.until(f"document.querySelectorAll('.queue button').length === {cases}")
    return page


async def case(page: Page, event_id: str) -> None:
    await page.until(f"document.querySelector('.case h2')?.innerText === '{event_id}'")


async def noted(page: Page, text: str) -> None:
    await page.until(f"document.querySelector('#notes').innerText.includes({text!r})")


async def typed(page: Page, text: str) -> None:
    for letter in text:
        await page.press(letter)


async def test_a_ticket_an_invoice_and_an_image_are_settled_by_keyboard_alone(
    browser: Chromium,
) -> None:
    desk = Desk()
    desk.wait_for(0)
    desk.invoice(1)
    desk.image(2)
    async with desk.served() as address:
        page = await opened(browser, address, 3)
        await page.press("n")
        await case(page, "T-0")
        assert "Charged twice" in await page.text(".event")
        assert "differs" in await page.text(".answers")
        await page.press("2")

        await case(page, "I-1")
        await page.until(DRAWN, within=100)
        await page.screenshot(SHOTS / "desk-invoice.png", whole=False)
        await page.press("+")
        await page.until("document.querySelector('.state').innerText.includes('150 %')")
        await page.press("r")
        await page.until("document.querySelector('.state').innerText.includes('turned 90')")
        await page.press("e")
        assert await page.evaluate("document.activeElement.value") == "SGP-5190"
        await page.press("End", code=35)
        await typed(page, "-B")
        # What is typed in a field is no shortcut.
        assert await page.evaluate("document.activeElement.value") == "SGP-5190-B"
        await page.press("Enter", **ENTER)

        await case(page, "D-2")
        await page.until(DRAWN, within=100)
        await page.press("x")
        await page.until("document.activeElement.id === 'reason'")
        await typed(page, "A blank page")
        await page.press("Enter", **ENTER)
        await noted(page, "A dead letter for D-2 is published.")
        await page.until("document.querySelectorAll('.queue button').length === 0")
        assert page.complaints == []
    [ticket] = desk.published("tickets.enriched")
    assert ticket["result"]["intent"] == "sales"
    [invoice] = desk.published("invoices.enriched")
    assert invoice["result"] == {**INVOICE, "invoice_number": "SGP-5190-B"}
    assert len(desk.published("dead-letters")) == 1
    assert desk.published("images.enriched") == []


async def test_a_wrong_amount_is_said_at_its_field_and_mended(browser: Chromium) -> None:
    desk = Desk()
    desk.invoice(0)
    async with desk.served() as address:
        page = await opened(browser, address, 1)
        await page.press("n")
        await case(page, "I-0")
        await page.press("e")
        await page.evaluate("document.querySelector('[data-path=due]').select()")
        await page.evaluate("document.querySelector('[data-path=due]').focus()")
        await typed(page, "lots")
        await page.press("Enter", **ENTER)
        await page.until("document.querySelector('[data-path=due][aria-invalid]') !== null")
        assert "due" in await page.text(".faults")
        assert await page.evaluate("document.activeElement.dataset.path") == "due"
        await page.evaluate("document.activeElement.select()")
        await typed(page, "119.50")
        await page.press("Enter", **ENTER)
        await noted(page, "is published.")
        # The browser says of the refusal that it was one.
        assert all("422" in complaint for complaint in page.complaints)
    assert desk.published("invoices.enriched")[0]["result"]["due"] == "119.50"


async def test_a_verdict_is_undone_by_a_key_and_the_case_is_back(browser: Chromium) -> None:
    desk = Desk(undo_seconds=60)
    desk.wait_for(0)
    desk.wait_for(1)
    async with desk.served() as address:
        page = await opened(browser, address, 2)
        await page.press("n")
        await case(page, "T-0")
        await page.press("1")
        await case(page, "T-1")
        await noted(page, "Haiku's answer for T-0 is published in")
        await page.press("u")
        await case(page, "T-0")
        await noted(page, "Undone: T-0 is open again.")
        await page.until("document.querySelectorAll('.queue button').length === 2")
        assert page.complaints == []
    assert desk.published("tickets.enriched") == []


async def test_the_list_of_keys_opens_and_the_queue_is_walked_through(browser: Chromium) -> None:
    desk = Desk()
    for number in range(3):
        desk.wait_for(number)
    async with desk.served() as address:
        page = await opened(browser, address, 3)
        await page.press("?")
        await page.until("document.querySelector('#help').open")
        shown = await page.text("#help-keys")
        assert "accept Haiku's answer" in shown
        await page.press("Escape", code=27)
        await page.until("!document.querySelector('#help').open")
        await page.press("j")
        await page.press("j")
        await page.press("Enter", **ENTER)
        await case(page, "T-1")
        await page.press("Escape", code=27)
        await page.until("document.querySelector('.case') === null")
        assert "T-1" in await page.evaluate("document.activeElement.innerText")
        assert await page.evaluate("document.title") == "3 waiting · desk"
        assert page.complaints == []


async def test_hostile_content_in_every_field_runs_nothing_and_asks_for_nothing_elsewhere(
    browser: Chromium,
) -> None:
    result: dict[str, Any] = {**RESULT, "summary": HOSTILE, "intent": HOSTILE, HOSTILE: [HOSTILE]}
    lines = [{**line, "description": HOSTILE} for line in INVOICE["line_items"]]
    invoice = {**INVOICE, "vendor": HOSTILE, "line_items": lines, "currency": HOSTILE}
    doubts = [Doubt(code=HOSTILE, detail=HOSTILE)]
    file = {"media_type": HOSTILE, "data": "AAAA", "name": HOSTILE}
    mail = {"from": HOSTILE, "from_name": HOSTILE, "to": [HOSTILE], "subject": HOSTILE}
    desk = Desk()
    event = {"id": HOSTILE, "body": HOSTILE * 3, HOSTILE: {HOSTILE: HOSTILE}, **mail}
    both = {"haiku_result": result, "sonnet_result": result}
    desk.wait_for(0, event_id=HOSTILE, doubts=doubts, event=event, **both)
    desk.invoice(1, event={"id": HOSTILE, "file": file}, haiku_result=invoice,
                 sonnet_result=invoice, doubts=doubts)  # fmt: skip
    desk.wait_for(2, stage=HOSTILE)
    async with desk.served() as address:
        page = await opened(browser, address, 3)
        for number in range(3):
            await page.press("n")
            await page.until(
                f"document.querySelector('[aria-current=true]')?.dataset.place === '0:{number}'"
            )
            await page.until("document.querySelector('.case') !== null")
            if number < 2:
                await page.press("e")
                await page.until("document.querySelector('form.correct') !== null")
                await page.press("Escape", code=27)
        inside = "document.querySelectorAll('main script, main iframe, main img:not(.leaf img)')"
        assert await page.evaluate(f"{inside}.length") == 0
        assert "waiting" in await page.evaluate("document.title")
        loaded = await page.evaluate("performance.getEntriesByType('resource').map((e) => e.name)")
        assert {name.split("/")[2] for name in loaded} == {address.removeprefix("http://")}
        assert page.complaints == []


async def test_two_reviewers_on_one_queue_never_work_on_one_case(browser: Chromium) -> None:
    desk = Desk(access=ByHost(ada=Role.REVIEWER, grace=Role.REVIEWER))
    for number in range(4):
        desk.wait_for(number)
    async with desk.served() as address:
        at = [address.replace("127.0.0.1", f"{name}.localhost") for name in ("ada", "grace")]
        ada, grace = [await opened(browser, each, 4) for each in at]
        await ada.press("n")
        await case(ada, "T-0")
        # Her list is older than the other's claim: she sees who has it, and goes on.
        await grace.press("n")
        await noted(grace, "ada works on this case")
        await grace.until("document.querySelector('.queue').innerText.includes('ada works on it')")
        await grace.press("n")
        await case(grace, "T-1")
        await ada.press("1")
        await grace.press("2")
        for page in (ada, grace):
            await noted(page, "is published.")
        await ada.until("document.querySelectorAll('.queue button').length === 2")
    records = desk.published("tickets.enriched")
    by = {record["event_id"]: record["result"]["intent"] for record in records}
    assert by == {"T-0": "billing", "T-1": "sales"}
    assert {audit["person"] for audit in desk.published("audit")} == {"ada", "grace"}


async def test_a_reader_is_offered_no_verdicts(browser: Chromium) -> None:
    desk = Desk(access=OneOf("rita", Role.READER))
    desk.wait_for(0)
    async with desk.served() as address:
        page = await opened(browser, address, 1)
        await page.press("n")
        await case(page, "T-0")
        assert await page.evaluate("document.querySelectorAll('.actions button').length") == 2
        await page.press("1")
        assert page.complaints == []
    assert desk.published("tickets.enriched") == []


async def test_who_has_no_role_sees_why_and_nothing_else(browser: Chromium) -> None:
    nobody = OneOf()
    nobody.person = None
    desk = Desk(access=nobody)
    desk.wait_for(0)
    async with desk.served() as address:
        page = await browser.open(address)
        await page.until("document.querySelector('#lost').innerText !== ''")
        assert "nothing asks who is there" in await page.text("#lost")


@pytest.mark.parametrize("name", LOOKS)
async def test_it_is_accessible_and_fits_every_screen(browser: Chromium, name: str) -> None:
    desk = Desk(undo_seconds=60)
    desk.wait_for(0)
    desk.invoice(1)
    desk.image(2, sonnet_result={**IMAGE, "description": "x" * 300})
    look = LOOKS[name]
    async with desk.served() as address:
        page = await opened(browser, address, 3, look)
        assert await violations(page) == []
        for event_id in ("T-0", "I-1", "D-2"):
            await page.press("n")
            await case(page, event_id)
            if event_id != "T-0":
                await page.until(DRAWN, within=100)
            assert await page.evaluate("document.documentElement.scrollWidth") <= look.width
            await page.screenshot(SHOTS / f"desk-{event_id}-{name}.png", whole=False)
            assert await violations(page) == []
            await page.press("e")
            await page.until("document.querySelector('form.correct') !== null")
            assert await page.evaluate("document.documentElement.scrollWidth") <= look.width
            assert await violations(page) == []
            await page.press("Escape", code=27)
        await page.press("1")
        await noted(page, "Haiku's answer for D-2")
        assert await violations(page) == []
        await page.press("?")
        await page.until("document.querySelector('#help').open")
        assert await violations(page) == []
        assert page.complaints == []
