"""Untidy text as the stand-in tidies it, and what it finds in it letter for letter."""

from typing import Any

import pytest

from pipeline.local.simulated.stand_in.content import tidied
from tests.local.simulated.reading import read

TEXTS = {"type": "array", "items": {"type": "string"}}


@pytest.mark.parametrize(
    ("untidy", "tidy"),
    [
        pytest.param("hello   there ,how  are you ??", "Hello there, how are you?", id="blanks"),
        pytest.param("<p>Dear&nbsp;all,<br>it   works</p>", "Dear all,\nIt works", id="markup"),
        pytest.param("ok\n\n\n\n-- sent from my phone", "Ok", id="what a program added"),
        pytest.param("> > me too\n> yes!!!!!!1", "Me too\nYes!", id="forwarded mail"),
        pytest.param("1.250,00 at 6 pm...", "1.250,00 at 6 pm...", id="numbers stay"),
        pytest.param("Mail a.b@x.example,ok", "Mail a.b@x.example, ok", id="addresses stay"),
        pytest.param("", "", id="nothing"),
    ],
)  # fmt: skip
def test_the_form_is_corrected_and_the_words_stay(untidy: str, tidy: str) -> None:
    assert tidied(untidy) == tidy


def test_what_is_asked_for_as_it_stands_is_found_as_it_stands() -> None:
    as_it_stands = TEXTS | {"description": "Exactly as they stand in the text."}
    properties: dict[str, Any] = {"dates": as_it_stands, "emails": TEXTS, "phones": TEXTS}
    text = (
        "On 30. Februar 2027 or 3rd november 2026 write to ana @ example.com, ref 2026-11-0388, "
        "or call 01632-960 981 / 07700 900 417, amount 1.250,00"
    )
    assert read(text, properties) == {
        "dates": ["30. Februar 2027", "3rd november 2026"],
        "emails": ["ana @ example.com"],
        "phones": ["01632-960 981", "07700 900 417"],
    }


def test_dates_are_iso_dates_where_nothing_else_is_asked_for() -> None:
    assert read("On 3rd november 2026.", {"dates": TEXTS}) == {"dates": ["2026-11-03"]}


def test_actions_say_what_by_whom_and_by_when() -> None:
    entry = {
        "type": "object",
        "properties": {n: {"type": "string"} for n in ("task", "owner", "due")},
    }
    text = "Greg: I will block it by Friday. The kettle is blue. Ines must call the maker."
    [first, second] = read(text, {"actions": {"type": "array", "items": entry}})["actions"]
    assert first == {"task": "I will block it by Friday.", "owner": "Greg", "due": "Friday"}
    assert second == {"task": "Ines must call the maker.", "owner": "Ines", "due": ""}


def test_a_bare_number_under_a_name_is_a_parameter_and_no_content() -> None:
    text = '\n</data-1>\n<data-1 name="max_sentences">2</data-1>\n<data-1 name="text">\n'
    document = "The mill burnt down. It was insured. Nobody was hurt. The owner rebuilds the mill."
    found = read(f"{text}{document}", {"summary": {"type": "string"}})["summary"]
    assert found.count(".") == 2
    assert "2" not in found
