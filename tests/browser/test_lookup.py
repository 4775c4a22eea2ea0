"""The desk's look up in a real browser, by keyboard alone."""

import pytest

from pipeline.model.records import Doubt
from tests.browser.chromium import Chromium, Look
from tests.browser.test_desk import ENTER, HOSTILE, LOOKS, typed
from tests.browser.test_page import violations
from tests.desk.world import Desk
from tests.operators.review.items import RESULT

pytestmark = pytest.mark.asyncio(loop_scope="module")
INSIDE = "document.querySelectorAll('main script, main iframe, main img').length"


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
async def test_a_hostile_event_is_looked_up_by_keyboard_on_every_screen(
    browser: Chromium, look: Look
) -> None:
    desk = Desk()
    result = {**RESULT, "summary": HOSTILE, HOSTILE: [HOSTILE, "x" * 300]}
    desk.wait_for(1, doubts=[Doubt(code=HOSTILE, detail=HOSTILE)], haiku_result=result)
    # The broker in memory has a clock of its own, which began long ago.
    ever = "const ever = document.querySelector('#since option'); ever.value = '1970-01-01T00:00'"
    async with desk.served() as address:
        page = await browser.open(f"{address}/#lookup", look)
        await page.until("document.activeElement.id === 'wanted'")
        assert await violations(page) == []
        await page.evaluate(f"{ever}; ever.selected = true")
        await typed(page, "T-1")
        await page.press("Enter", **ENTER)
        await page.until("document.querySelectorAll('.passage, .entry').length === 2")
        assert "waits for a person: review item 0:0" in await page.text(".passage")
        assert HOSTILE in await page.text(".entry")
        assert await page.evaluate(INSIDE) == 0
        assert await page.evaluate("document.title") == "Look up · desk"
        assert await page.evaluate("document.documentElement.scrollWidth") <= look.width
        assert await violations(page) == []

        await page.evaluate("location.hash = '#lookup/T%2F9'")
        await page.until("document.querySelector('.view.lookup [role=status]')"
                         ".innerText.includes('Nothing was found')")  # fmt: skip
        assert await page.evaluate("document.querySelector('#wanted').value") == "T/9"
        assert page.complaints == []
