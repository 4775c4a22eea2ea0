"""The day of events that the demo publishes: routine made from templates, samples among it.

`samples/day.toml` says what there is of each; the same seed makes the same day.
"""

import io
import random
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any, Literal

import orjson
import pikepdf
from PIL import Image, ImageDraw, ImageFont
from pydantic import BaseModel, ConfigDict, TypeAdapter

import pipeline
from pipeline.model.errors import PipelineError
from pipeline.operators.publish import Item, read_items
from pipeline.stream.records import Headers

ROUTINE = "routine"
SEED = 7
_JSON: Headers = (("content-type", b"application/json"),)
_VAT = Decimal("0.20")
_PDF_EVERY, _PICTURE_EVERY = 4, 30
"""Every so many routine invoices is a PDF file or a scan; the others are text."""


class Sample(BaseModel):
    """An entry of the manifest; `samples/README.md` says what its fields mean."""

    model_config = ConfigDict(frozen=True)

    stage: str
    kind: str
    path: str | None
    count: int
    generate: dict[Literal["bytes"], int] | None
    key_field: str | None
    key: str | None
    headers: dict[str, str]
    expected: Literal["any", "dead_letter"]
    reason: str | None


@dataclass(frozen=True, slots=True)
class DayEvent:
    stage: str
    name: str  # its id, or the file it is, for a person
    kind: str  # `routine`, or what is hard about it
    item: Item  # the record to publish


def samples_folder() -> Path:
    """Where the samples are: inside the installed package, or beside it in a checkout.

    Raises:
        PipelineError: They are neither here nor there.
    """
    package = Path(str(resources.files(pipeline)))
    for folder in (package / "samples", package.parent / "samples"):
        if (folder / "manifest.json").is_file():
            return folder
    raise PipelineError("The samples did not come with this installation: install the wheel again.")


def read_manifest(folder: Path) -> list[Sample]:
    return TypeAdapter(list[Sample]).validate_json((folder / "manifest.json").read_bytes())


def items_of(folder: Path, sample: Sample) -> Iterator[Item]:
    """The records of an entry, as they are to be published."""
    headers: Headers = tuple((name, value.encode()) for name, value in sample.headers.items())
    if sample.kind == "jsonl" and sample.path is not None:
        for item in read_items([folder / sample.path], key_field=sample.key_field or "id"):
            yield Item(item.place, item.key, item.value, headers)
        return
    key = None if sample.key is None else sample.key.encode()
    if sample.generate is not None:
        value = b"x" * sample.generate["bytes"]
    else:
        value = (folder / (sample.path or "")).read_bytes()
    yield Item(sample.path or "generated", key, value, headers)


def day_of_events(folder: Path, *, share: float = 1.0, seed: int = SEED) -> list[DayEvent]:
    """All events of the day, in the order in which they are to be published.

    `share`, from above 0 to 1, is how much of each use and of each kind of sample.
    """
    plan = tomllib.loads((folder / "day.toml").read_text(encoding="utf-8"))
    draw = random.Random(seed)  # noqa: S311 - no secrets are made of it
    events = [
        event
        for stage, count in plan["routine"].items()
        for event in _routine(stage, plan[stage], plan["words"], max(1, round(count * share)), draw)
    ]
    samples = {}
    for sample in read_manifest(folder):
        for item in items_of(folder, sample):
            name = item.place
            if sample.kind == "jsonl":
                name = orjson.loads(item.value)["id"]
            elif sample.kind == "file":
                name = Path(item.place).stem
            samples[name] = sample.stage, item
    for kind, names in plan["samples"].items():
        for name in names[: max(1, round(len(names) * share))]:
            stage, item = samples[name]
            events.append(DayEvent(stage, name, kind, item))
    draw.shuffle(events)
    return events


def _routine(
    stage: str,
    templates: Sequence[Mapping[str, str]],
    words: Mapping[str, Sequence[str]],
    count: int,
    draw: random.Random,
) -> Iterator[DayEvent]:
    for number in range(1, count + 1):
        identity = f"{stage}-{number:03}"
        values = _values(words, draw) | {"number": f"{draw.randrange(2000, 9000)}-{number:03}"}
        template = templates[number % len(templates)]
        fields = {name: Template(text).substitute(values) for name, text in template.items()}
        key, headers = identity.encode(), _JSON
        event: dict[str, Any] = {"id": identity, **fields}
        value = orjson.dumps(event)
        if stage == "tickets":
            event["customer_id"] = f"C-{draw.randrange(100, 190)}"
            key, value = event["customer_id"].encode(), orjson.dumps(event)
        elif stage == "images" or (stage == "invoices" and number % _PICTURE_EVERY == 0):
            value, headers = _picture(fields["text"]), _file(b"image/png", key)
        elif stage == "invoices" and number % _PDF_EVERY == 0:
            value, headers = _pdf(fields["text"]), _file(b"application/pdf", key)
        yield DayEvent(stage, identity, ROUTINE, Item(identity, key, value, headers))


def _file(media_type: bytes, identity: bytes) -> Headers:
    return (("content-type", media_type), ("event-id", identity))


def _values(words: Mapping[str, Sequence[str]], draw: random.Random) -> dict[str, str]:
    """A value for each word; `$word2` and `$word3` differ from `$word`."""
    values: dict[str, str] = {}
    for name, choices in words.items():
        drawn = draw.sample(choices, min(3, len(choices)))
        for suffix, value in zip(("", "2", "3"), drawn, strict=False):
            values[name + suffix] = value
    net, lines = Decimal(0), []
    for good in draw.sample(words["good"], draw.randrange(2, 4)):
        quantity, price = draw.randrange(1, 6), Decimal(draw.randrange(400, 9000)) / 100
        net += quantity * price
        amount = f"{quantity * price:.2f}"
        lines.append(f"{good:<26}{quantity:<11}{price:<13.2f}{amount:>10}")
    tax = (net * _VAT).quantize(Decimal("0.01"))
    return values | {
        "lines": "\n".join(lines),
        "net": f"{net:.2f}",
        "tax": f"{tax:.2f}",
        "gross": f"{net + tax:.2f}",
    }


def _picture(text: str) -> bytes:
    """A scan of a page, as PNG; small, since reading it is what takes the demo longest."""
    font, lines = ImageFont.load_default(16), text.splitlines()
    page = Image.new("L", (24 + round(max(map(font.getlength, lines))), 24 + 24 * len(lines)), 255)
    ImageDraw.Draw(page).multiline_text((12, 12), text, fill=0, font=font, spacing=6)
    scan = io.BytesIO()
    page.save(scan, "PNG")
    return scan.getvalue()


def _pdf(text: str) -> bytes:
    pdf = pikepdf.new()
    page = pdf.add_blank_page(page_size=(595, 842))
    font = pikepdf.Dictionary(
        Type=pikepdf.Name.Font, Subtype=pikepdf.Name.Type1, BaseFont=pikepdf.Name.Courier
    )
    page.obj.Resources = pikepdf.Dictionary(Font=pikepdf.Dictionary(F1=font))
    shown = "".join(f"({line}) Tj T*\n" for line in text.splitlines())
    page.obj.Contents = pdf.make_stream(f"BT /F1 10 Tf 50 790 Td 13 TL\n{shown}ET".encode())
    file = io.BytesIO()
    pdf.save(file, static_id=True)
    return file.getvalue()
