"""What the checks of amounts and values make of labelled invoices: no model is asked.

    python -m benchmarks.invoice_values FILE...

Each FILE holds JSON Lines with a `text` and what is true of it in `gold`, as `pipeline evaluate`
takes them. The labels are taken for a model's answer, so that every doubt is a false alarm, or a
label that is not in its text. Then each amount is written in other ways and read again: right,
doubted, or silently wrong. The last line is a JSON object.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from pipeline.cascade.policy import StagePolicy
from pipeline.config import InvoiceSettings, Thresholds
from pipeline.evaluate.comparison import ALIASES, read_date
from pipeline.stages.fields.amounts import parse_amount, read_amount
from pipeline.stages.fields.invoice_answer import AMOUNTS, InvoiceAnswer
from pipeline.stages.invoices import InvoiceEvent, Invoices

_CHECKED = frozenset({"evidence_not_found", "arithmetic", "ambiguous_amount", "implausible"})
_SIGNS = (("", "."), (",", "."), (".", ","), (" ", ","), ("'", "."), ("\u00a0", ","))
"""Between thousands and before decimals, as in several countries; the first as is asked for."""


def answer_of(gold: Mapping[str, Any]) -> InvoiceAnswer:
    """The answer that a model gives which reads all that is labelled, and nothing else."""
    known = {ALIASES.get(key, key): value for key, value in gold.items() if value is not None}
    amounts = {name: _plain(known.get(name, "")) for name in AMOUNTS}
    day = read_date(str(known.get("issue_date", "")))
    return InvoiceAnswer.model_validate(
        {
            **amounts,
            "quote": str(known.get("gross", "")),
            "invoice_number": str(known.get("invoice_number", "")),
            "issue_date": "" if day is None else day.isoformat(),
            "due_date": "",
            "vendor": str(known.get("vendor", "")),
            "buyer": str(known.get("buyer", "")),
            "currency": str(known.get("currency", "")),
            "line_items": [
                {
                    "description": str(item.get("description", "")),
                    **{key: _plain(item.get(key)) for key in ("quantity", "unit_price", "amount")},
                }
                for item in known.get("line_items", ())
            ],
            "legibility": "legible",
            "missing": [],
            "confidence": 1.0,
            "unclear": False,
        }
    )


def doubts(stage: Invoices, row: Mapping[str, Any]) -> set[str]:
    """The codes for which a right answer is doubted, what it has to quote aside."""
    event = InvoiceEvent(id=str(row["id"]), text=row["text"])
    signals = [
        signal
        for signal in stage.signals(event, answer_of(row["gold"]))
        if signal.code in _CHECKED and not signal.detail.startswith("What the answer quotes")
    ]
    return {doubt.code for doubt in StagePolicy(Thresholds()).doubts(signals)}


def readings(gold: Mapping[str, Any]) -> Iterator[str]:
    """How each labelled amount is read in each way of writing it."""
    currency = gold.get("currency")
    known = {ALIASES.get(key, key): value for key, value in gold.items()}
    for name in AMOUNTS:
        amount = parse_amount(_plain(known.get(name)))
        if amount is None:
            continue
        for thousands, decimals in _SIGNS:
            written = f"{amount:,.2f}".translate({ord(","): thousands, ord("."): decimals})
            read = read_amount(written, currency)
            yield "right" if read == (amount,) else "doubted" if len(read) != 1 else "wrong"


def main(paths: list[str]) -> int:
    """Measure the files; 1 where an amount was read silently wrong."""
    stage = Invoices(InvoiceSettings())
    found: dict[str, Any] = {}
    for path in map(Path, paths):
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]
        codes = [doubts(stage, row) for row in rows]
        written = Counter(each for row in rows for each in readings(row["gold"]))
        found[path.name] = {
            "events": len(rows),
            "doubted": sum(map(bool, codes)),
            "doubts": Counter(code for each in codes for code in each),
            "amounts": {name: written[name] for name in ("right", "doubted", "wrong")},
        }
        print(f"{path.name}: {sum(map(bool, codes))} of {len(rows)} right answers are doubted")  # noqa: T201
    print(json.dumps(found))  # noqa: T201
    return int(any(each["amounts"]["wrong"] for each in found.values()))


def _plain(value: object) -> str:
    amount = parse_amount(str(value)) if not isinstance(value, float) else Decimal(str(value))
    return "" if amount is None else format(amount, "f")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
