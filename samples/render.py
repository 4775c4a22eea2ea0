#!/usr/bin/env python
"""Write every sample that is rendered, its labels, and the manifest of all samples.

    python samples/render.py [--into FOLDER]

The bytes depend on nothing but this folder and the versions of Pillow and pypdf.
"""

import argparse
import base64
import dataclasses
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from rendering.broken import FAR_TOO_LARGE, JSON, broken_events
from rendering.invoice import Invoice, to_sheets
from rendering.invoices import ATTACHED_INVOICES, PDF_INVOICES, PICTURED_INVOICES
from rendering.manifest import Entry
from rendering.pdf import to_pdf
from rendering.picture import Format, Look, encode, to_image
from rendering.pictures import CLEAN, CREAM, PICTURES, SCAN
from rendering.written_invoices import WRITTEN_INVOICES

HERE = Path(__file__).resolve().parent
PDF = "application/pdf"
PAGE_HEIGHT = 800
SUFFIX: Mapping[Format, str] = {"PNG": "png", "JPEG": "jpg", "GIF": "gif", "WEBP": "webp"}
INVOICE_LOOKS: tuple[tuple[Format, Look], ...] = (
    ("PNG", CLEAN),
    ("JPEG", SCAN),
    ("PNG", Look(1.4, CREAM)),
    ("JPEG", Look(1.45, CREAM, rotation=-0.7, grain=0.2, blur=0.4, brightness=0.94, seed=19)),
    ("WEBP", SCAN),
)
# Written by hand, one event a line: the stage, and the field that is the key.
WRITTEN = (
    ("tickets", "customer_id"),
    ("documents", "id"),
    ("requests", "id"),
    ("code", "id"),
    ("texts", "id"),
)

Files = dict[str, bytes]
Json = dict[str, object]


def produce() -> Files:
    """All files that are rendered, by path below the samples."""
    files: Files = {}
    entries = [
        _lines_entry(stage, (HERE / f"{stage}.jsonl").read_bytes(), key_field)
        for stage, key_field in WRITTEN
    ]
    for make in (_invoices, _images, _broken):
        entries += make(files)
    entries.sort(key=lambda entry: entry.kind == "broken")
    rows = ",\n  ".join(_json(dataclasses.asdict(entry)) for entry in entries)
    files["manifest.json"] = f"[\n  {rows}\n]\n".encode()
    return files


def _invoices(files: Files) -> list[Entry]:
    events: list[Json] = []
    labels: list[Json] = []
    for written in WRITTEN_INVOICES:
        event: Json = {"id": written.id, "text": written.text}
        events.append(event)
        labels.append(event | {"gold": written.gold, "adds_up": written.adds_up})
    rendered = [(invoice, "pdf", PDF, _pdf(invoice)) for invoice in PDF_INVOICES]
    rendered += [
        (invoice, SUFFIX[kind], f"image/{kind.lower()}", _picture(invoice, kind, look))
        for invoice, (kind, look) in zip(PICTURED_INVOICES, INVOICE_LOOKS, strict=True)
    ]
    entries: list[Entry] = []
    for invoice, suffix, media, data in rendered:
        path = f"invoices/{invoice.id}.{suffix}"
        files[path] = data
        place: Json = {"id": invoice.id, "path": f"../{path}", "content_type": media}
        labels.append(place | {"gold": invoice.gold(), "adds_up": invoice.adds_up})
        entries.append(_invoice_entry(invoice, path, media))
    as_pdf, as_image = ATTACHED_INVOICES
    for invoice, media, data in (
        (as_pdf, PDF, _pdf(as_pdf)),
        (as_image, "image/png", _picture(as_image, "PNG", CLEAN)),
    ):
        attached = {"media_type": media, "data": base64.b64encode(data).decode()}
        events.append({"id": invoice.id, "file": attached})
        labels.append(events[-1] | {"gold": invoice.gold(), "adds_up": invoice.adds_up})
    files["invoices.jsonl"] = _jsonl(events)
    files["labels/invoices.jsonl"] = _jsonl(labels)
    return [_lines_entry("invoices", files["invoices.jsonl"], "id"), *entries]


def _invoice_entry(invoice: Invoice, path: str, media: str) -> Entry:
    note = f"{invoice.words.title.lower()} of {invoice.vendor.name}"
    if not invoice.adds_up:
        note += "; its sums do not add up"
    headers = {"content-type": media, "event-id": invoice.id}
    return Entry("invoices", "file", path, note, key=invoice.id, headers=headers)


def _pdf(invoice: Invoice) -> bytes:
    return to_pdf(to_sheets(invoice), f"{invoice.words.title} {invoice.number}")


def _picture(invoice: Invoice, kind: Format, look: Look) -> bytes:
    (sheet,) = to_sheets(invoice, PAGE_HEIGHT)
    return encode(to_image(sheet, look), kind)


def _images(files: Files) -> list[Entry]:
    labels: list[Json] = []
    entries: list[Entry] = []
    for picture in PICTURES:
        declared = picture.declared or picture.kind
        media = f"image/{declared.lower()}"
        path = f"images/{picture.id}.{SUFFIX[declared]}"
        files[path] = picture.render()
        # A file whose record key is its id needs no header for it; one sample shows that.
        headers = {"content-type": media, "event-id": picture.id}
        if picture.name == "rainfall chart":
            del headers["event-id"]
        entry = Entry("images", "file", path, picture.name, key=picture.id, headers=headers)
        if picture.declared:
            reason = "unsupported_media"
            entry = dataclasses.replace(entry, expected="dead_letter", reason=reason)
        else:
            labels.append(
                {
                    "id": picture.id,
                    "path": f"../{path}",
                    "content_type": media,
                    "document_type": picture.document_type,
                    "language": picture.language,
                    "legible": picture.legible,
                    "moderation": picture.moderation,
                }
            )
        entries.append(entry)
    files["labels/images.jsonl"] = _jsonl(labels)
    return entries


def _broken(files: Files) -> list[Entry]:
    entries: list[Entry] = []
    for event in broken_events():
        path = None if event.value is None else f"broken/{event.name}"
        if path is not None and event.value is not None:
            files[path] = event.value
        entries.append(
            Entry(
                event.stage,
                "broken",
                path,
                event.note,
                generate={"bytes": FAR_TOO_LARGE} if path is None else None,
                key=event.key,
                headers=event.headers,
                expected="dead_letter",
                reason=event.reason,
            )
        )
    return entries


def _lines_entry(stage: str, data: bytes, key_field: str) -> Entry:
    count = len(data.splitlines())
    return Entry(
        stage,
        "jsonl",
        f"{stage}.jsonl",
        f"{count} events, one a line",
        count=count,
        key_field=key_field,
        headers=JSON,
    )


def _jsonl(rows: Iterable[Json]) -> bytes:
    return "".join(f"{_json(row)}\n" for row in rows).encode()


def _json(row: Json) -> str:
    return json.dumps(row, ensure_ascii=False)


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(description="Write every sample that is rendered.")
    parser.add_argument("--into", type=Path, default=HERE, help="a folder; here if not given")
    folder: Path = parser.parse_args().into
    for path, data in produce().items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


if __name__ == "__main__":
    main()
