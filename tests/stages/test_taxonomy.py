"""Labels: in the prompt, and as a type."""

import pytest
from pydantic import TypeAdapter, ValidationError

from pipeline.config import Label, TicketSettings
from pipeline.stages.fields.asking import label_lines, label_type

LABELS = [
    Label(name="Billing", description="About  money.\nAll of it.", examples=['pay "now"\nplease']),
    Label(name="rest", queue="front-desk"),
]


def test_a_label_is_one_line_and_so_is_each_example() -> None:
    assert label_lines(LABELS) == (
        '- Billing: About money. All of it.\n  Example: "pay "now" please"\n- rest'
    )


def test_a_label_is_one_of_those_there_are() -> None:
    adapter = TypeAdapter(label_type(["Billing", "rest"]))
    assert adapter.validate_python("Billing") == "Billing"
    with pytest.raises(ValidationError):
        adapter.validate_python("other")
    with pytest.raises(ValidationError):
        adapter.validate_python(7)


def test_labels_that_differ_in_case_only_are_refused() -> None:
    with pytest.raises(ValidationError, match="differ in case only"):
        TicketSettings(intents=[Label(name="a"), Label(name="A")])


def test_one_label_is_no_choice() -> None:
    with pytest.raises(ValidationError):
        TicketSettings(intents=[Label(name="a")])
