"""The type of a field that takes one of some labels."""

from typing import Any

from pydantic import create_model

from pipeline.stages.fields.asking import label_type


def schema_of(*names: str) -> dict[str, Any]:
    of: Any = label_type(names)
    model = create_model("Answer", label=(of, ...), runner_up=(of | None, ...))
    properties: dict[str, Any] = model.model_json_schema()["properties"]
    return properties


def test_labels_keep_their_order_whatever_order_the_process_met_before() -> None:
    for names in (("here", "there"), ("there", "here")):
        found = schema_of(*names)
        assert found["label"]["enum"] == list(names)
        assert found["runner_up"]["anyOf"][0]["enum"] == list(names)
