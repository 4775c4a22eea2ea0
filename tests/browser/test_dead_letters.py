"""Dead letters in a real browser, by keyboard alone, over the broker in memory."""

import pytest

from tests.browser.chromium import Chromium
from tests.browser.test_desk import ENTER, HOSTILE, LOOKS, noted
from tests.browser.test_page import SHOTS, violations
from tests.desk.test_dead_letters import put_aside
from tests.desk.world import Desk

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("name", ["desktop-light", "phone-dark"])
async def test_what_is_chosen_by_keyboard_is_looked_at_rehearsed_and_put_back(
    browser: Chromium, name: str
) -> None:
    desk, look = Desk(), LOOKS[name]
    put_aside(desk)
    put_aside(desk, b"\xff\xfe", reason="invalid_event", key=None)
    put_aside(desk, HOSTILE.encode(), key=HOSTILE.encode(), reason=HOSTILE, stage=HOSTILE,
              headers={"dlq-detail": HOSTILE, "dlq-version": HOSTILE, "own": HOSTILE})  # fmt: skip
    async with desk.served() as address:
        page = await browser.open(f"{address}/#dead-letters", look)
        await page.until("document.querySelectorAll('.queue button').length === 3")
        assert await violations(page) == []
        for place in ("0:2", "0:1", "0:0"):
            await page.press("j")
            await page.press("Enter", **ENTER)
            await page.until(f"document.querySelector('.pane h2')?.innerText.includes('{place}')")
            assert await page.evaluate("document.documentElement.scrollWidth") <= look.width
            assert await violations(page) == []
            await page.screenshot(SHOTS / f"dead-letters-{place[-1]}-{name}.png", whole=False)
            await page.press("Escape", code=27)
        await page.press("x")
        await page.until("document.querySelector('[role=status]').innerText.includes('1 chosen')")
        await page.press("p")
        await page.until("document.querySelector('form').innerText.includes('1 would be replayed')")
        assert await violations(page) == []
        await page.press("Enter", **ENTER)
        await noted(page, "1 replayed (1 to tickets.raw), 0 were before, 0 refused.")
        await page.until("document.querySelectorAll('.queue button').length === 2")
        inside = "document.querySelectorAll('main script, main iframe, main img')"
        assert await page.evaluate(f"{inside}.length") == 0
        assert page.complaints == []
    assert desk.published("tickets.raw") == [{"id": "T-1"}]
