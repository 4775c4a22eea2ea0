"""How many e-invoices are read from their own data, how well, and at what CPU: no model is asked.

    python -m benchmarks.einvoices FOLDER [LABELS]

All PDF and XML files below FOLDER are taken as the stage `invoices` takes them. LABELS are JSON
Lines with what is true of a file in `gold` and its place in FOLDER in `origin_path`; what is read
is compared with that, field by field. The last line is a JSON object.
"""

import json
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from pipeline.cascade.policy import StagePolicy
from pipeline.config import InvoiceSettings, Thresholds
from pipeline.evaluate.comparison import ALIASES, read_date
from pipeline.model.errors import InvalidEvent
from pipeline.model.questions import KnownResult
from pipeline.stages.files.pdfs import prepare_pdf
from pipeline.stages.files.raw_events import RawFile
from pipeline.stages.invoices import InvoiceEvent, InvoiceResult, Invoices

_TYPES = {".pdf": "application/pdf", ".xml": "application/xml"}
_COMPARED = (
    "invoice_number", "issue_date", "vendor", "buyer", "currency", "allowances", "charges", "net",
    "tax", "gross", "prepaid", "due",
)  # fmt: skip
_ZERO_IF_NONE = frozenset({"allowances", "charges", "prepaid"})
_ROUNDS = 20


def ended(stage: Invoices, event: InvoiceEvent) -> tuple[str, InvoiceResult | None]:
    """How a file is dealt with, and what is read of it where it is not asked about."""
    try:
        found = stage.read_or_ask(event)
    except InvalidEvent as invalid:
        return f"dead letter ({invalid.reason.value})", None
    if not isinstance(found, KnownResult):
        return "asked", None
    if StagePolicy(Thresholds()).doubts(found.signals):
        return "asked and doubted", None
    assert isinstance(found.result, InvoiceResult)  # noqa: S101 - what the stage publishes
    return "read", found.result


def compared(result: InvoiceResult, gold: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """Each labelled field, and whether what was read is equal."""
    known = {ALIASES.get(key, key): value for key, value in gold.items()}
    for name in _COMPARED:
        value, true = getattr(result, name), known.get(name)
        if name in _ZERO_IF_NONE:
            true = true or 0
        if true is not None:
            yield name, _same(value, true)
    lines = known.get("line_items") or []
    yield "number of lines", len(lines) == len(result.line_items)
    for true, line in zip(lines, result.line_items, strict=False):
        for name in ("description", "quantity", "unit_price", "amount"):
            if true[name] is not None:
                yield f"line: {name}", _same(getattr(line, name), true[name])


def _same(value: object, true: object) -> bool:
    if isinstance(value, date):
        return value == read_date(str(true))
    if isinstance(value, Decimal):
        return abs(value - Decimal(str(true))) < Decimal("0.00005")
    return isinstance(value, str) and value.split() == str(true).split()


def cpu_ms(stage: Invoices, documents: list[bytes]) -> float:
    """The median over the documents, each in the mean of some rounds, of reading bare XML."""
    found = []
    for document in documents:
        file = RawFile(media_type=_TYPES[".xml"], data=document)
        event = InvoiceEvent(id="measured", file=file)
        stage.read_or_ask(event)
        began = time.process_time()
        for _ in range(_ROUNDS):
            stage.read_or_ask(event)
        found.append((time.process_time() - began) / _ROUNDS * 1000)
    return round(statistics.median(found), 3)


def main(folder: str, labels: str | None = None) -> int:
    """Measure the files; 1 where a value that is published is another than its label."""
    stage, root = Invoices(InvoiceSettings(max_event_bytes=64 << 20)), Path(folder)
    ends: Counter[str] = Counter()
    results: dict[str, tuple[str, InvoiceResult | None]] = {}
    documents: list[bytes] = []
    for path in sorted(each for each in root.rglob("*") if each.suffix.lower() in _TYPES):
        media_type, data = _TYPES[path.suffix.lower()], path.read_bytes()
        event = InvoiceEvent(id=path.name[:200], file=RawFile(media_type=media_type, data=data))
        end, result = ended(stage, event)
        ends[f"{path.suffix.lower()[1:]}: {end}"] += 1
        results[str(path.relative_to(root))] = end, result
        if result is not None:
            is_pdf = media_type == _TYPES[".pdf"]
            documents += (
                prepare_pdf(data, 100, field="f", attached=True).attached[:1] if is_pdf else [data]
            )
    right: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    labelled: Counter[str] = Counter()
    for row in map(json.loads, Path(labels).read_text("utf-8").splitlines() if labels else ()):
        end, result = results.get(row["origin_path"], ("not there", None))
        labelled[end] += 1
        for name, is_right in [] if result is None else compared(result, row["gold"]):
            (right if is_right else wrong)[name] += 1
            if not is_right:
                print(f"{row['id']}: {name} is another than its label")  # noqa: T201
    found = {
        "files": dict(sorted(ends.items())),
        "labelled": dict(labelled),
        "fields_equal": right.total(),
        "fields_different": dict(wrong),
        "cpu_ms_of_reading": cpu_ms(stage, documents) if documents else None,
    }
    print(json.dumps(found))  # noqa: T201
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
