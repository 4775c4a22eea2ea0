"""The schema of an answer."""

from typing import Any

from pydantic import Field

from pipeline.stages.api import Answer, answer_schema


class Verdict(Answer):
    quote: str
    label: str = Field("x", description="With a default.")


def test_what_an_answer_states_about_itself_comes_last_and_all_is_required() -> None:
    schema: Any = answer_schema(Verdict)
    order = ["quote", "label", "confidence", "unclear"]
    assert list(schema["properties"]) == order
    assert schema["required"] == order
