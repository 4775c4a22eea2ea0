"""From figures of the dashboard to the events behind them, in a real browser."""

import shlex
from typing import Any

import pytest

from pipeline.model.records import Doubt
from tests.browser.chromium import Chromium, Look
from tests.browser.operation import Operation
from tests.browser.test_page import LOOKS, violations

pytestmark = pytest.mark.asyncio(loop_scope="module")
HOSTILE = "-x' $(id) \"><img src=x onerror='document.title=1'>/#?"
CODES = "[...document.querySelectorAll('#doubts .behind')].map((e) => e.innerText)"
COMMANDS = "[...document.querySelectorAll('#records code')].map((e) => e.textContent)"
ASKED = "[...document.querySelectorAll('#records a')].map((e) => decodeURIComponent(e.hash))"
LINKS = "[...document.querySelectorAll('#records a')].map((e) => e.href)"


def operation(desk: str | None) -> Operation:
    made = Operation(desk=desk)
    made.begin()
    for event_id in ("T-1", HOSTILE, "T-2"):
        made.record(event_id, {}, doubts=(Doubt(code="totals_differ", detail="By 1.00."),))
    made.metrics.doubted("tickets", "totals_differ")
    made.metrics.dead_lettered("tickets", "bad_pdf")
    return made


async def shown(browser: Chromium, address: str, look: Look | None = None) -> Any:  # noqa: ANN401
    page = await browser.open(address, look)
    await page.until("document.querySelector('#records').innerText.includes('T-2')")
    return page


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
async def test_events_and_examples_of_doubts_are_links_to_the_desk(
    browser: Chromium, look: Look
) -> None:
    async with operation("https://desk.example.com").served() as address:
        page = await shown(browser, address, look)
        links = await page.evaluate(LINKS)
        assert links[0] == "https://desk.example.com/#lookup/T-2"
        assert all(each.startswith("https://desk.example.com/#lookup/") for each in links)
        asked = [f"#lookup/{each}" for each in ("T-2", HOSTILE, "T-1")]
        assert await page.evaluate(ASKED) == asked
        assert await page.evaluate(CODES) == ["such as T-2"]
        assert await page.evaluate("document.documentElement.scrollWidth") <= look.width
        assert await violations(page) == []
        assert page.complaints == []


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
async def test_without_a_desk_commands_are_shown_that_a_shell_takes_as_they_are_meant(
    browser: Chromium, look: Look
) -> None:
    async with operation(None).served() as address:
        page = await shown(browser, address, look)
        await page.evaluate("document.querySelectorAll('#records details').forEach((e) => "
                            "{ e.open = true; })")  # fmt: skip
        commands = [shlex.split(each) for each in await page.evaluate(COMMANDS)]
        assert commands == [
            ["pipeline", "lookup", "T-2"],
            ["pipeline", "lookup", "--", HOSTILE],
            ["pipeline", "lookup", "T-1"],
        ]
        assert await page.evaluate(CODES) == ["such as pipeline lookup T-2"]
        assert "pipeline dead-letters list --reason bad_pdf" in await page.text("#letters")
        assert await page.evaluate("document.querySelectorAll('main img, main script').length") == 0
        assert await page.evaluate("document.documentElement.scrollWidth") <= look.width
        assert await violations(page) == []
        assert page.complaints == []
