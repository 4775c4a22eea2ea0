"""Makes docs/dashboard.png: the real page over a real pipeline that works on the samples.

`python -m tests.browser.screenshot` starts `pipeline local` and `pipeline run`, publishes the
samples over and over for some minutes, as tickets come and go in a company, and takes a picture.
"""

import argparse
import asyncio
import itertools
import math
import random
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import aiohttp
import orjson
from aiokafka import AIOKafkaProducer
from PIL import Image

from pipeline.local.day import items_of, read_manifest, samples_folder
from pipeline.operators.publish import Item
from tests.browser.chromium import Look, chromium
from tests.e2e.programs import exported, program

STAGES = ("tickets", "invoices", "images", "escalations")
PICTURE = Path("docs/dashboard.png")
MOST_BYTES = 200_000
SHOWN = Look(width=1280, height=1120)
COLOURS = 96
A_SECOND = {"tickets": 20.0, "invoices": 1.5, "images": 0.2}
CLEAR = ("T-1001", "T-1003", "T-1006", "T-1010", "T-1016", "T-1024", "T-1037", "I-3001", "I-3003")
CLEAR_BETWEEN = 9
"""How many of these, whose answers the first tier is sure of, come between two of the samples:
most samples are there because they are hard, and most events of an ordinary day are not."""
CUSTOMERS = 500
STEP = 0.25
LIMITS = {"requests": 2000, "input_tokens": 2_000_000, "output_tokens": 400_000}


def rounds(stage: str) -> Iterator[Item]:
    """The samples of a stage again and again, each time with an id of its own."""
    folder = samples_folder()
    found = [
        item
        for sample in read_manifest(folder)
        if sample.stage == stage and (sample.kind == "jsonl" or stage == "images")
        for item in items_of(folder, sample)
    ]
    clear = itertools.cycle([item for item in found if _id(item) in CLEAR])
    numbers = itertools.count(1)
    while True:
        for item in found:
            yield _renewed(item, next(numbers))
            for each in islice(clear, CLEAR_BETWEEN):
                yield _renewed(each, next(numbers))


def _id(item: Item) -> object:
    value = item.value or b""
    return orjson.loads(value).get("id") if value.startswith(b"{") else None


def _renewed(item: Item, number: int) -> Item:
    """The same under another id, from another customer."""
    if not (item.value or b"").startswith(b"{"):
        return item
    value = orjson.loads(item.value or b"")
    value["id"] = f"{value.get('id')}-{number}"
    # Of the same key one would wait for the other, which so few customers would show too much of.
    key = f"customer-{number % CUSTOMERS}".encode()
    return Item(item.place, key, orjson.dumps(value), item.headers)


async def publish(servers: str, seconds: float) -> None:
    """Publish for some time, now more, now less."""
    draws = random.Random(4)
    samples = {stage: rounds(stage) for stage in A_SECOND}
    due = dict.fromkeys(A_SECOND, 0.0)
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with AIOKafkaProducer(bootstrap_servers=servers, max_request_size=16 << 20) as producer:
        while (passed := loop.time() - began) < seconds:
            for stage, rate in A_SECOND.items():
                wave = 1 + 0.5 * math.sin(passed / 23 + len(stage)) + draws.uniform(-0.2, 0.2)
                due[stage] += rate * STEP * max(0.0, wave)
                while due[stage] >= 1:
                    due[stage] -= 1
                    item = next(samples[stage])
                    headers = list(item.headers)
                    await producer.send(f"{stage}.raw", item.value, key=item.key, headers=headers)
            await asyncio.sleep(STEP)


async def take(path: Path, seconds: float) -> None:
    """Run everything and take the picture."""
    async with program(["local"]) as local:
        await local.says("ready")
        variables = exported(local.lines)
        async with aiohttp.ClientSession(variables["ANTHROPIC_BASE_URL"]) as api:
            limits = dict.fromkeys(("claude-haiku-5-5", "claude-sonnet-5-5"), LIMITS)
            async with api.put("/admin/limits", json=limits) as answer:
                answer.raise_for_status()
        # What was asked before would not be asked again.
        variables["PIPELINE_CLAUDE__ANSWER_CACHE"] = "off"
        async with program(["run", "--json", *STAGES], variables) as run, chromium() as browser:
            address = orjson.loads(await run.says("http://"))["dashboard"]
            await publish(variables["PIPELINE_KAFKA__BOOTSTRAP_SERVERS"], seconds)
            page = await browser.open(address, SHOWN)
            await page.until("document.querySelectorAll('#tiles .tile').length === 8")
            await page.evaluate("document.fonts.ready.then(() => true)")
            await page.screenshot(path, whole=False)
    shrink(path)


def shrink(path: Path) -> None:
    """Few colours are enough for a page, and a third of the bytes."""
    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    small.save(path, optimize=True)


def main() -> int:
    """Make the picture; 0 where it is small enough for a README."""
    parser = argparse.ArgumentParser(prog="python -m tests.browser.screenshot")
    parser.add_argument("--seconds", type=float, default=180.0, help="of load before the picture")
    parser.add_argument("--to", type=Path, default=PICTURE, help="where to write it")
    options = parser.parse_args()
    asyncio.run(take(options.to, options.seconds))
    size = options.to.stat().st_size
    result = {"picture": str(options.to), "bytes": size, "ok": size <= MOST_BYTES}
    sys.stdout.write(orjson.dumps(result).decode() + "\n")
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
