"""The dashboard in a real browser, over a pipeline whose every figure is made to happen."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.model.records import Doubt, Tier
from tests.browser.chromium import Chromium, Look, Page
from tests.browser.operation import HAIKU, Operation

pytestmark = pytest.mark.asyncio(loop_scope="module")

AXE = Path(__file__).parent / "vendor" / "axe.min.js"
SHOTS = Path("build/screenshots")
LOOKS = {
    "desktop-light": Look(1280, 900),
    "desktop-dark": Look(1280, 900, dark=True),
    "phone-light": Look(390, 844, scale=2),
    "phone-dark": Look(390, 844, dark=True, scale=2),
}
SHOWN = "document.querySelectorAll('#tiles .tile').length === 8"
HOSTILE = '"><img src=x onerror="document.title=1"><script>document.title=1</script>'


@pytest.fixture
def operation() -> Operation:
    """Ten minutes of ordinary operation."""
    operation = Operation()
    operation.begin()
    operation.pass_by(20)
    operation.record("T-1", {"intent": "billing", "summary": "Charged twice."})
    doubt = Doubt(code="totals_differ", detail="The lines add up to 1,000.00.")
    operation.record("INV-1", {"vendor": "Müller"}, stage="invoices", doubts=(doubt,))
    operation.record("IMG-1", {}, stage="images", doubts=(doubt,), for_review=True)
    return operation


async def opened(browser: Chromium, address: str, look: Look | None = None) -> Page:
    page = await browser.open(address, look)
    await page.until(SHOWN)
    return page


async def figure(page: Page, name: str) -> str:
    found: str = await page.evaluate(
        f"[...document.querySelectorAll('.tile')].find((tile) => "
        f"tile.firstElementChild.textContent === {json.dumps(name)}).children[1].textContent"
    )
    return found


async def test_it_loads_from_its_own_port_alone_and_nothing_is_refused(
    browser: Chromium, operation: Operation
) -> None:
    async with operation.served() as address:
        page = await opened(browser, address)
        await page.evaluate("document.fonts.ready.then(() => true)")
        loaded = await page.evaluate("performance.getEntriesByType('resource').map((e) => e.name)")
        assert {name.split("/")[2] for name in loaded} == {address.removeprefix("http://")}
        assert await page.evaluate("document.fonts.check('16px Inter')")
        assert await page.evaluate("document.querySelectorAll('.plot canvas').length") == 4
        assert await page.text("#state") == "Ready"
        assert page.complaints == []


async def test_it_updates_while_events_flow(browser: Chromium, operation: Operation) -> None:
    async with operation.served() as address:
        page = await opened(browser, address)
        for stage in ("tickets", "invoices", "images"):
            operation.lag(stage, 0)
        operation.lag("tickets", 4321, seconds=75)
        operation.record("T-2", {"intent": "sales"})
        await page.until("document.querySelector('#records').innerText.includes('T-2')")
        assert await figure(page, "Lag") == "4,321 events"
        assert await page.evaluate("document.title") == "4,321 waiting · haiku-pipeline"
        assert page.complaints == []


async def test_one_stage_can_be_looked_at_alone(browser: Chromium, operation: Operation) -> None:
    async with operation.served() as address:
        page = await opened(browser, address)
        everything = await figure(page, "Lag")
        await page.evaluate("document.querySelector('input[value=invoices]').click()")
        assert await figure(page, "Lag") != everything
        records = await page.text("#records")
        assert "INV-1" in records
        assert "T-1" not in records
        # The median is drawn beside the 95th percentile.
        assert "p50" in await page.text("#charts")
        assert page.complaints == []


async def test_it_says_what_is_wrong_and_when_it_is_over(
    browser: Chromium, operation: Operation
) -> None:
    reason: list[str | None] = ["intake is closed: the budget of 5 US dollars is used up"]
    operation.health.add_readiness("stream.tickets", lambda: reason[0])
    operation.metrics.intake("tickets", paused_reason="the budget is used up")
    operation.metrics.breaker(HAIKU, "open")
    async with operation.served() as address:
        page = await opened(browser, address)
        assert await page.text("#state") == "Not ready"
        assert "Intake is closed: the budget of 5 US dollars" in await page.text("#troubles")
        assert "intake closed" in await page.text("#stages")
        assert "breaker open" in await page.text("#models")

        reason[0] = None
        operation.metrics.intake("tickets", paused_reason=None)
        operation.metrics.breaker(HAIKU, "closed")
        await page.until("document.querySelector('#state').textContent === 'Ready'")
        assert await page.evaluate("document.querySelector('#trouble').hidden")
        assert "answering" in await page.text("#models")


async def test_it_shows_which_endpoint_a_tier_is_asked_at(
    browser: Chromium, operation: Operation
) -> None:
    operation.metrics.in_use(Tier.HAIKU, HAIKU, "first", in_use=False)
    operation.metrics.in_use(Tier.HAIKU, "aws/haiku", "fallback", in_use=True)
    operation.metrics.breaker(HAIKU, "open")
    async with operation.served() as address:
        page = await opened(browser, address)
        models = await page.text("#models")
        assert "The tier haiku is asked at its fallback." in models
        assert "in use as fallback" in models
        operation.metrics.in_use(Tier.HAIKU, HAIKU, "first", in_use=True)
        operation.metrics.in_use(Tier.HAIKU, "aws/haiku", "fallback", in_use=False)
        await page.until("document.querySelector('#models').innerText.includes('standing by')")
        assert page.complaints == []


async def test_content_of_events_stays_text(browser: Chromium, operation: Operation) -> None:
    doubt = Doubt(code=HOSTILE, detail=HOSTILE)
    operation.record(HOSTILE, {"summary": HOSTILE, HOSTILE: [HOSTILE]}, doubts=(doubt,))
    operation.metrics.doubted("tickets", HOSTILE)
    operation.metrics.dead_lettered("tickets", HOSTILE)
    operation.metrics.decided("tickets", "haiku", "enriched", model=HOSTILE)  # type: ignore[arg-type]
    operation.metrics.call("tickets", HOSTILE, "answered", seconds=1, usage=None)
    operation.metrics.intake("tickets", paused_reason=HOSTILE)
    operation.health.add_readiness(HOSTILE, lambda: HOSTILE)
    async with operation.served() as address:
        page = await opened(browser, address)
        await page.until("document.querySelector('#records').innerText.includes('onerror')")
        assert "onerror" in await page.text("#troubles")
        assert "onerror" in await page.text("#doubts")
        assert "onerror" in await page.text("#models")
        assert await page.evaluate("document.querySelectorAll('main img, main script').length") == 0
        assert "waiting" in await page.evaluate("document.title")
        assert page.complaints == []


async def test_no_raw_event_reaches_the_page_and_results_can_be_kept_off_it(
    browser: Chromium, operation: Operation
) -> None:
    without = Operation(recent=0)
    without.begin()
    without.pass_by(2)
    without.record("T-9", {"summary": "Not for everybody."})
    async with operation.served() as address, without.served() as other:
        page = await opened(browser, address)
        await page.until("document.querySelector('#records').innerText.includes('IMG-1')")
        assert "raw body" not in await page.evaluate("document.documentElement.outerHTML")
        page = await opened(browser, other)
        assert "http.recent_records" in await page.text("#no-records")
        assert "Not for everybody" not in await page.evaluate("document.documentElement.outerHTML")


async def test_it_says_that_nobody_answers_and_goes_on_by_itself(
    browser: Chromium, operation: Operation
) -> None:
    async with operation.served() as address:
        page = await opened(browser, address)
        assert await page.text("#lost") == ""
    await page.until("document.querySelector('#state').textContent === 'No connection'")
    said = await page.text("#lost")
    assert "it has stopped, or it cannot be reached" in said
    assert "The figures below are from" in said
    assert await page.evaluate("document.body.classList.contains('is-stale')")
    await page.screenshot(SHOTS / "gone.png")

    operation.port = int(address.rsplit(":", 1)[1])
    async with operation.served():
        await page.until("document.querySelector('#state').textContent === 'Ready'")
        assert await page.text("#lost") == ""


async def test_a_keyboard_reaches_everything(browser: Chromium, operation: Operation) -> None:
    async with operation.served() as address:
        page = await opened(browser, address)
        assert await page.tab() == "a skip"
        assert (await page.tab()).startswith("input")
        await page.press("ArrowRight", code=39)
        assert await page.evaluate("document.activeElement.value") == "tickets"
        assert "p50" in await page.text("#charts")
        order = [await page.tab() for _ in range(3)]
        assert order[:2] == ["div scroll", "div scroll"]
        assert order[2].startswith("summary")
        await page.press("Enter", code=13)
        assert await page.evaluate("document.querySelector('details').open")
        # What was opened stays open, and the focus where it is, when new figures come.
        operation.record("T-3", {"intent": "sales"})
        await page.until("document.querySelector('#records').innerText.includes('T-3')")
        assert await page.evaluate("document.querySelectorAll('details[open]').length") == 1
        assert await page.evaluate("document.activeElement.tagName") == "SUMMARY"


@pytest.mark.parametrize("name", LOOKS)
async def test_it_is_accessible_and_fits_every_screen(
    browser: Chromium, operation: Operation, name: str
) -> None:
    operation.health.add_readiness("stream.tickets", lambda: "intake is closed: no answer")
    async with operation.served() as address:
        page = await opened(browser, address, LOOKS[name])
        await page.until("document.querySelector('#records').innerText.includes('IMG-1')")
        width = await page.evaluate("document.documentElement.scrollWidth")
        assert width <= LOOKS[name].width
        await page.evaluate("document.fonts.ready.then(() => true)")
        await page.screenshot(SHOTS / f"{name}.png")
        assert await violations(page) == []


async def violations(page: Page) -> list[str]:
    """What axe finds against WCAG 2.2 A and AA, and against its own best practices."""
    await page.evaluate(AXE.read_text("utf-8") + "; true")
    found: list[dict[str, Any]] = await page.evaluate(
        "axe.run().then((r) => r.violations.map((v) => ({id: v.id, help: v.help, "
        "nodes: v.nodes.map((n) => n.target.join(' ') + ': ' + n.failureSummary)})))"
    )
    return [f"{each['id']}: {each['help']}: {each['nodes'][:3]}" for each in found]


async def test_before_the_first_event_nothing_is_claimed(browser: Chromium) -> None:
    idle = Operation()
    idle.begin()
    async with idle.served() as address:
        page = await opened(browser, address)
        assert await figure(page, "Lag") == "0 events"
        assert await figure(page, "Escalated") == "– "
        assert "No record yet" in await page.text("#no-records")
        assert page.complaints == []
        await page.screenshot(SHOTS / "idle.png")
        assert await violations(page) == []
