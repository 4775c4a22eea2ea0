"""Pages that are shown one by one: where documents begin among them."""

from typing import Any

import orjson

from pipeline.claude.request_body import api_schema
from pipeline.local.simulated.stand_in.answerer import Reader
from pipeline.local.simulated.stand_in.content import FileText, read_content
from pipeline.local.simulated.stand_in.label_scores import SONNET
from pipeline.stages.fields.asking import answer_schema
from pipeline.stages.files.splitting import Boundaries

SCHEMA = orjson.dumps(api_schema(answer_schema(Boundaries)))


def firsts(pages: list[str], pictures: tuple[str, ...] = ()) -> list[int]:
    texts = [f'<data-1 name="page {at}">\n{text}\n</data-1>' for at, text in enumerate(pages, 1)]
    content = read_content(texts, [FileText(text, 1.0) for text in pictures])
    answer: dict[str, Any] = Reader(SONNET).answer(SCHEMA, "Say where documents begin.", content)
    found = Boundaries.model_validate(answer)
    assert found.confidence > 0.7
    assert all(each.confidence > 0.7 for each in found.documents)
    return [each.first_page for each in found.documents]


def invoice(number: str, note: str = "") -> str:
    return f"INVOICE\nACME Ltd\nInvoice no: {number}\nTotal EUR 12.50\n{note}"


def test_another_number_begins_another_document() -> None:
    assert firsts([invoice("A-17"), "Terms and conditions", invoice("A-18")]) == [1, 3]


def test_the_same_number_goes_on_with_the_document() -> None:
    assert firsts([invoice("A-17"), invoice("A-17"), "Thank you"]) == [1]


def test_page_numbers_count_more_than_other_numbers() -> None:
    pages = [invoice("A-17", "Page 1 of 2"), invoice("A-99", "Page 2 of 2"), "Letter\nPage 1/1"]
    assert firsts(pages) == [1, 3]


def test_pages_that_come_as_pictures_are_read() -> None:
    shown = ["(the next picture)", invoice("A-17"), "(the next picture)"]
    assert firsts(shown, (invoice("A-17"), invoice("A-18"))) == [1, 3]
