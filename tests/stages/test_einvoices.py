"""What the checks are worth on public e-invoices: doubts on right readings, and on wrong ones."""

import copy
import json
import random
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipeline.cascade.policy import StagePolicy
from pipeline.config import InvoiceSettings, Thresholds
from pipeline.stages.fields.invoice_answer import InvoiceAnswer
from pipeline.stages.invoices import InvoiceEvent, Invoices
from tests.stages.invoice_answers import plain

DATA = Path(__file__).parents[3] / "shared" / "data" / "invoices" / "einvoices.jsonl"
STAGE = Invoices(InvoiceSettings())
AMOUNTS = ("allowances", "charges", "net", "tax", "gross", "prepaid", "due")

pytestmark = pytest.mark.skipif(not DATA.is_file(), reason="the shared data folder is absent")


def documents() -> list[tuple[InvoiceEvent, dict[str, Any]]]:
    rows = [json.loads(row) for row in DATA.read_text("utf-8").splitlines()]
    return [(InvoiceEvent(id=r["id"], text=r["text"]), right_answer(r["gold"])) for r in rows]


def right_answer(gold: dict[str, Any]) -> dict[str, Any]:
    """The answer of a model that makes no mistake; the gold data has no quotes."""
    return {
        "quote": gold["invoice_number"],
        "invoice_number": gold["invoice_number"],
        "issue_date": gold["issue_date"],
        "due_date": "",
        "vendor": gold["vendor"],
        "buyer": gold["buyer"] or "",
        "currency": gold["currency"],
        "line_items": [
            {
                "description": item["description"],
                "quantity": plain(item["quantity"]),
                "unit_price": plain(item["unit_price"]),
                "amount": plain(item["amount"]),
            }
            for item in gold["line_items"]
        ],
        "allowances": plain(gold["allowance_total"] or 0),
        "charges": plain(gold["charge_total"] or 0),
        "net": plain(gold["net_total"]),
        "tax": plain(gold["tax_total"]),
        "gross": plain(gold["grand_total"]),
        "prepaid": plain(gold["prepaid"] or 0),
        "due": plain(gold["due"]),
        "legibility": "legible",
        "missing": [],
        "confidence": 1.0,
        "unclear": False,
    }


def is_doubted(event: InvoiceEvent, answer: dict[str, Any], *codes: str) -> bool:
    """Whether an answer is doubted for other reasons than the quote it lacks."""
    signals = STAGE.signals(event, InvoiceAnswer.model_validate(answer))
    judged = [
        signal for signal in signals if not signal.detail.startswith("What the answer quotes")
    ]
    chosen = [signal for signal in judged if not codes or signal.code in codes]
    return bool(StagePolicy(Thresholds()).doubts(chosen))


def corruptions(answer: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The answer with one amount made wrong: a digit, two digits swapped, a wrong magnitude."""
    dice = random.Random(20)
    places: list[tuple[str, int | None]] = [(name, None) for name in AMOUNTS]
    places += [("line_items", at) for at in range(len(answer["line_items"]))]
    for name, at in places:
        true = answer[name] if at is None else answer[name][at]["amount"]
        if not true or not Decimal(true):
            continue
        digits = [place for place, char in enumerate(true) if char.isdigit()]
        place = dice.choice(digits)
        other = dice.choice([char for char in "0123456789" if char != true[place]])
        swapped = true[: digits[0]] + true[digits[1]] + true[digits[0]] + true[digits[1] + 1 :]
        ways = (true[:place] + other + true[place + 1 :], swapped, plain(float(true) * 10))
        wrong = dice.choice([way for way in ways if Decimal(way) != Decimal(true)])
        changed = copy.deepcopy(answer)
        if at is None:
            changed[name] = wrong
        else:
            changed[name][at]["amount"] = wrong
        yield changed


def test_hardly_any_right_answer_is_doubted() -> None:
    found = documents()
    assert sum(is_doubted(*each, "arithmetic") for each in found) / len(found) <= 0.05
    assert sum(is_doubted(*each) for each in found) / len(found) <= 0.10


def test_nearly_every_wrong_amount_is_doubted() -> None:
    wrong = [(event, changed) for event, right in documents() for changed in corruptions(right)]
    assert len(wrong) > 100
    by_sums_alone = sum(is_doubted(*each, "arithmetic") for each in wrong) / len(wrong)
    by_all = sum(is_doubted(*each) for each in wrong) / len(wrong)
    assert by_sums_alone >= 0.90
    assert by_all >= 0.99
