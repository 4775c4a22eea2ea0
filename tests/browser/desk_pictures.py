"""Makes docs/desk-*.png: cases of the demo, on the desk.

`python -m tests.browser.desk_pictures URL` takes pictures of a desk that runs, such as the one that
`pipeline demo --keep` names: of a ticket, of an invoice in PDF and of an image, the first that
wait. It looks and decides nothing.
"""

import argparse
import asyncio
import sys
from pathlib import Path

from tests.browser.chromium import Look, Page, chromium
from tests.browser.screenshot import shrink

DOCS = Path("docs")
LOOK = Look(1280, 860)
DRAWN = "document.querySelector('.leaf img')?.naturalWidth > 0"
STAGES = {"tickets": "ticket", "invoices": "invoice", "images": "image"}
SHOWN = {"tickets": "", "invoices": "pdf", "images": "image"}
"""What is said of the file that is wanted."""


async def take(url: str, folder: Path) -> list[Path]:
    """Take the pictures; those of stages of which no case waits are left as they are."""
    taken = []
    async with chromium() as browser:
        for stage, name in STAGES.items():
            page = await browser.open(url, LOOK)
            await page.until("document.querySelectorAll('.queue button').length > 0")
            if await _choose(page, stage):
                path = folder / f"desk-{name}.png"
                await page.screenshot(path, whole=False)
                shrink(path)
                taken.append(path)
    return taken


async def _choose(page: Page, stage: str) -> bool:
    options = "[...document.querySelector('#by-stage').options].map((each) => each.value)"
    if stage not in await page.evaluate(options):
        return False
    await page.evaluate(
        f"document.querySelector('#by-stage').value = '{stage}';"
        "document.querySelector('#by-stage').dispatchEvent(new Event('change')); true"
    )
    await page.until(f"document.querySelector('.queue .about')?.innerText.startsWith('{stage}')")
    is_wanted = f"document.querySelector('.file').innerText.includes('{SHOWN[stage]}')"
    before = ""
    while True:
        await page.press("n")
        await page.until(
            f"(document.querySelector('.case h2')?.innerText ?? {before!r}) !== {before!r}"
        )
        if await page.evaluate(is_wanted):
            break
        before = await page.text(".case h2")
    if stage != "tickets":
        await page.until(DRAWN, within=100)
    await page.evaluate("document.fonts.ready.then(() => true)")
    return True


def main() -> int:
    """Take them; 0 if all were."""
    parser = argparse.ArgumentParser(prog="python -m tests.browser.desk_pictures")
    parser.add_argument("url", nargs="?", default="http://127.0.0.1:8090")
    parser.add_argument("--to", type=Path, default=DOCS, help="the folder")
    options = parser.parse_args()
    taken = asyncio.run(take(options.url, options.to))
    sys.stdout.write("\n".join(map(str, taken)) + "\n")
    return 0 if len(taken) == len(STAGES) else 1


if __name__ == "__main__":
    sys.exit(main())
