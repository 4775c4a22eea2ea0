"""What of an answer is the decision."""

import pytest

from pipeline.config import StagesSettings
from pipeline.stages.api import Answer, Deciding, build_stages, differences, label_of

STAGES = build_stages(StagesSettings())


class Choice(Answer):
    """An answer."""

    mood: str
    loud: bool


class Notes:
    """As much of a stage as decides."""

    deciding = ("mood", "loud")


GLAD = Choice(mood="glad", loud=False, confidence=0.5, unclear=False)


@pytest.mark.parametrize("name", STAGES)
def test_what_decides_is_a_field_of_the_result(name: str) -> None:
    stage = STAGES[name]
    if isinstance(stage, Deciding):
        assert set(stage.deciding) <= set(stage.result_model.model_fields)
    else:
        assert name in {"documents", "code"}, "prose is compared by nobody"


def test_the_label_is_what_the_first_field_says() -> None:
    assert label_of(Notes(), GLAD) == "glad"
    assert label_of(object(), GLAD) is None


def test_answers_differ_where_they_decide_differently() -> None:
    one = GLAD.model_dump()
    assert differences(Notes(), one, one | {"confidence": 0.9}) == ()
    assert differences(Notes(), one, one | {"mood": " Glad"}) == ()
    assert differences(Notes(), one, one | {"mood": "sad", "loud": True}) == ("mood", "loud")
    assert differences(object(), one, one) is None
