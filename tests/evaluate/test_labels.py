"""Labelled files of several shapes, and what is said of those that have none."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import StagesSettings
from pipeline.evaluate.labelled_events import Columns, LabelledFile, read_labelled
from pipeline.model.errors import UsageError
from pipeline.stages.api import build_stages

SAMPLES = Path(__file__).parents[2] / "samples" / "labels"
STAGES = build_stages(StagesSettings())


def read(path: Path, stage: str, *rows: object, columns: Columns | None = None) -> LabelledFile:
    file = path / "labels.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    return read_labelled(file, STAGES[stage], columns or Columns())


def fields(found: LabelledFile) -> dict[str, str]:
    return {truth.field: truth.key for truth in found.scoring.truths}


def test_utterances_with_a_queue(tmp_path: Path) -> None:
    rows = (
        {"id": "a", "text": "my card", "label": "x", "queue": "billing", "oos": False},
        {"id": "b", "text": "what is love", "label": "oos", "queue": "oos", "oos": True},
    )
    found = read(tmp_path, "tickets", *rows, columns=Columns(label="queue", text="text"))
    first, second = found.events
    assert json.loads(first.value) == {"id": "a", "body": "my card"}
    assert first.truth == {"queue": "billing"}
    assert (second.out_of_scope, second.truth) == (True, {})
    assert found.scoring.label == "queue"
    assert "label" in found.scoring.ignored


def test_what_is_true_may_be_an_object_with_names_of_its_own(tmp_path: Path) -> None:
    gold = {"vendor": "X", "date": "01/02/2018", "total": "20.50", "address": "somewhere"}
    found = read(tmp_path, "invoices", {"id": "a", "text": "TOTAL 20.50", "gold": gold})
    assert fields(found) == {"vendor": "vendor", "issue_date": "date", "gross": "total"}
    assert found.scoring.ignored == ("address",)
    assert found.scoring.label is None
    chosen = Columns(fields=("gross=total",))
    only = read(tmp_path, "invoices", {"id": "a", "text": "x", "gold": gold}, columns=chosen)
    assert fields(only) == {"gross": "total"}


def test_a_line_without_an_id_is_known_by_its_number(tmp_path: Path) -> None:
    found = read(tmp_path, "requests", {"query": "hello", "agent": "code_agent"})
    assert found.events[0].id == "line-1"


def test_a_file_is_read_from_beside_the_labels(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"not really")
    row = {"id": "D-1", "path": "x.png", "content_type": "image/png", "document_type": "letter"}
    (event,) = read(tmp_path, "images", row).events
    assert event.value == b"not really"
    assert dict(event.headers) == {"content-type": b"image/png", "event-id": b"D-1"}


@pytest.mark.parametrize("stage", ["tickets", "invoices", "images", "requests", "code", "texts"])
def test_the_samples_labels_need_no_options(stage: str) -> None:
    found = read_labelled(SAMPLES / f"{stage}.jsonl", STAGES[stage], Columns())
    assert len(found.events) >= 10
    assert found.scoring.truths
    for event in found.events:
        headers = {name: content for name, content in event.headers if content is not None}
        STAGES[stage].parse(event.value, key=None, headers=headers)


@pytest.mark.parametrize(
    ("rows", "columns", "said"),
    [
        ([{"id": "a", "body": "x"}], Columns(), "nothing to compare"),
        ([{"id": "a", "body": "x", "summary": "y"}], Columns(), "nothing to compare"),
        ([{"id": "a", "body": "x", "summary": "y"}], Columns(fields=("summary",)), "free text"),
        ([{"id": "a", "body": "x", "intent": "y"}], Columns(label="queue"), "No line has"),
        (
            [{"id": "a", "body": "x", "intent": "y"}],
            Columns(label="mood=intent"),
            "no field 'mood'",
        ),
        ([{"id": "a", "intent": "y"}, {"id": "a", "intent": "y"}], Columns(), "two events 'a'"),
        ([{"id": "a", "intent": "y"}, {"id": "b"}], Columns(), "has no label"),
        ([[1]], Columns(), "JSON object"),
        ([], Columns(), "no events"),
    ],
)
def test_a_file_that_is_none_is_said_to_be_none(
    tmp_path: Path, rows: list[Any], columns: Columns, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        read(tmp_path, "tickets", *rows, columns=columns)


def test_a_line_that_is_not_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"id": "a", "intent": "b"}\n{oops\n')
    with pytest.raises(UsageError, match=r"x\.jsonl:2: is not JSON"):
        read_labelled(tmp_path / "x.jsonl", STAGES["tickets"], Columns())
