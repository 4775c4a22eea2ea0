"""Labelling drawn answers in a real browser, by keyboard alone, over the broker in memory."""

import pytest

from tests.browser.chromium import Chromium
from tests.browser.test_desk import ENTER, HOSTILE, LOOKS, noted
from tests.browser.test_page import SHOTS, violations
from tests.desk.test_sample import draw, labels
from tests.desk.world import Desk
from tests.operators.review.items import RESULT

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("name", ["desktop-dark", "phone-light"])
async def test_what_is_right_is_said_then_the_answer_is_seen_and_judged(
    browser: Chromium, name: str
) -> None:
    desk, look = Desk(), LOOKS[name]
    draw(desk, 0)
    draw(desk, 1, result={**RESULT, "intent": HOSTILE, "summary": HOSTILE}, label=HOSTILE)
    shown: list[str] = []
    async with desk.served() as address:
        page = await browser.open(f"{address}/#sample", look)
        for number in range(2):
            await page.until("document.querySelector('form.correct') !== null")
            assert "double charge" not in await page.evaluate("document.body.innerText")
            assert await violations(page) == []
            await page.press("1")
            chosen = "document.querySelector('[type=radio]:checked').value"
            assert await page.evaluate(chosen) == "billing"
            await page.screenshot(SHOTS / f"sample-{number}-asked-{name}.png", whole=False)
            await page.press("Enter", **ENTER)
            await page.until("document.querySelector('.answers') !== null")
            shown.append(await page.text(".answers"))
            assert await violations(page) == []
            assert await page.evaluate("document.documentElement.scrollWidth") <= look.width
            await page.screenshot(SHOTS / f"sample-{number}-shown-{name}.png", whole=False)
            await page.press("y" if number else "Enter", **({} if number else ENTER))
            await noted(page, "Labelled")
        await page.until("document.querySelector('.none') !== null")
        assert "2 labelled so far" in await page.text("[role=status]")
        inside = "document.querySelectorAll('main script, main iframe, main img')"
        assert await page.evaluate(f"{inside}.length") == 0
        assert page.complaints == []
    assert any("double charge" in each for each in shown)
    found = {each["event_id"]: each["right"] for each in labels(desk)}
    assert len(found) == 2
