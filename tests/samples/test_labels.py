from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from pypdf import PdfReader

from pipeline.config import Settings
from tests.samples.index import SAMPLES, events, labels, samples

SETTINGS = Settings().stages
LABELLED = sorted(path.stem for path in (SAMPLES / "labels").iterdir())
INVOICES = labels("invoices")


def identity(label: dict[str, Any]) -> str:
    return str(label["id"])


def contradictions(gold: dict[str, Any]) -> list[str]:
    """The checks on an invoice's sums that fail; a term that is absent counts as nothing."""
    term = {name: Decimal(gold[name] or 0) for name in _SUMS}
    lines = sum((Decimal(item["amount"]) for item in gold["line_items"]), Decimal(0))
    checks = {
        "lines": lines - term["allowances"] + term["charges"] == term["net"],
        "gross": term["net"] + term["tax"] == term["gross"],
        "due": term["gross"] - term["prepaid"] == term["due"],
    }
    return [name for name, holds in checks.items() if not holds]


_SUMS = ("allowances", "charges", "net", "tax", "gross", "prepaid", "due")


@pytest.mark.parametrize("stage", LABELLED)
def test_labels_cover_what_can_be_answered_and_nothing_else(stage: str) -> None:
    answerable = [one.id for one in samples() if one.stage == stage and one.reason is None]
    wordless = {
        event["id"]
        for event in (events("tickets") if stage == "tickets" else [])
        if not event["body"] and "subject" not in event
    }

    labelled = [label["id"] for label in labels(stage)]

    assert sorted(labelled) == sorted(set(answerable) - wordless)


@pytest.mark.parametrize("stage", [stage for stage in LABELLED if stage != "images"])
def test_a_label_repeats_its_event_word_for_word(stage: str) -> None:
    by_id = {event["id"]: event for event in events(stage)}

    for label in labels(stage):
        event = by_id.get(label["id"], {})
        for name in ("body", "subject", "text", "file", "query", "source"):
            assert label.get(name) == event.get(name)


@pytest.mark.parametrize("stage", ["invoices", "images"])
def test_the_path_of_a_label_leads_to_the_published_file(stage: str) -> None:
    published = {one.id: one for one in samples() if one.stage == stage}

    for label in labels(stage):
        if "path" in label:
            sample = published[label["id"]]
            assert (SAMPLES / "labels" / label["path"]).read_bytes() == sample.value
            assert label["content_type"] == sample.headers["content-type"]


def test_tickets_show_every_intent_clearly_and_some_that_are_not_clear() -> None:
    clear = Counter(label["intent"] for label in labels("tickets") if not label["ambiguous"])

    assert set(clear) == {intent.name for intent in SETTINGS.tickets.intents}
    assert min(clear.values()) >= 10
    assert sum(label["ambiguous"] for label in labels("tickets")) >= 8


def test_tickets_come_in_several_languages_and_from_customers_who_write_again() -> None:
    languages = Counter(label["language"] for label in labels("tickets"))
    customers = Counter(event.get("customer_id") for event in events("tickets"))

    assert {"en", "de", "fr", "es", "it", "nl", "ja"} <= set(languages)
    assert max(times for customer, times in customers.items() if customer) >= 3


def test_one_ticket_is_empty_and_one_has_a_field_that_no_stage_knows() -> None:
    known = {"id", "body", "subject", "customer_id", "channel", "created_at"}

    assert any(not event["body"] for event in events("tickets"))
    assert any(set(event) - known for event in events("tickets"))


def test_images_show_every_document_type_and_one_that_nobody_can_read() -> None:
    types = Counter(label["document_type"] for label in labels("images"))

    assert set(types) == {kind.name for kind in SETTINGS.images.document_types}
    assert min(types.values()) >= 3
    assert [label["legible"] for label in labels("images")].count(False) == 1
    assert any(label["moderation"] for label in labels("images"))


@pytest.mark.parametrize("label", INVOICES, ids=identity)
def test_the_sums_of_an_invoice_agree_unless_its_label_says_that_they_do_not(
    label: dict[str, Any],
) -> None:
    assert (not contradictions(label["gold"])) == label["adds_up"]


def test_invoices_vary() -> None:
    gold = [label["gold"] for label in INVOICES]

    assert {"EUR", "GBP", "USD", "CHF", "JPY"} <= {one["currency"] for one in gold}
    assert sum(not label["adds_up"] for label in INVOICES) in range(3, 6)
    assert sum(one["prepaid"] is not None for one in gold) >= 3
    assert sum(one["allowances"] is not None for one in gold) >= 3
    assert sum("text" in label for label in INVOICES) >= 8
    assert sum("file" in label for label in INVOICES) >= 2


@pytest.mark.parametrize("label", [one for one in INVOICES if "text" in one], ids=identity)
def test_a_text_invoice_says_what_its_label_says(label: dict[str, Any]) -> None:
    assert missing_from(label["text"], label["gold"]) == []


@pytest.mark.parametrize(
    "label", [one for one in INVOICES if one.get("path", "").endswith("pdf")], ids=identity
)
def test_a_pdf_invoice_says_what_its_label_says(label: dict[str, Any]) -> None:
    reader = PdfReader(SAMPLES / "labels" / label["path"])
    text = "\n".join(page.extract_text() for page in reader.pages)

    assert missing_from(text, label["gold"]) == []


def missing_from(text: str, gold: dict[str, Any]) -> list[str]:
    """Names, descriptions and amounts of the label that the text does not show.

    Adjustments and tax are left out: where there are several, only their parts may be printed.
    """
    shown = text.casefold()
    digits = "".join(char for char in text if char.isdigit() or char == "\n")
    items = gold["line_items"]
    words = [gold["number"], gold["vendor"], gold["buyer"], *(one["description"] for one in items)]
    amounts = [gold[name] for name in ("net", "gross", "prepaid", "due") if gold[name]]
    amounts += [item["amount"] for item in items]
    unseen = [word for word in words if word.casefold() not in shown]
    return unseen + [amount for amount in amounts if amount.replace(".", "") not in digits]
