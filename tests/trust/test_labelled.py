"""Labels to fit a score to: from drawn answers, or from an evaluation."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.model.errors import UsageError

pytest.importorskip("sklearn", reason="the extra `trust` is not installed")
from pipeline.trust.labelled import LabelledFile, Result, read_labelled

AT = "2026-11-30T12:00:00Z"


def answer(**changes: object) -> dict[str, Any]:
    return {
        "schema": "trust.answer/1", "event_id": "T-1", "stage": "tickets", "whose": "w",
        "chance": 0.5, "decided_by": "haiku", "model": "m", "label": "billing", "confidence": 0.9,
        "signals": [{"code": "low_confidence", "strength": 0.1}],
        "result": {"intent": "billing", "fields": {"order": "7"}},
        "source": {"topic": "tickets.raw", "partition": 0, "offset": 1, "timestamp": AT},
        "provenance": {"provider": "p", "prompt": "a", "settings": "b"}, "published_at": AT,
        **changes,
    }  # fmt: skip


def label(right: bool, **changes: object) -> dict[str, Any]:
    return {
        "schema": "trust.label/1", "event_id": "T-1", "stage": "tickets", "right": right,
        "person": "ann", "origin": "sample", "chance": 0.1, "at": AT, **changes,
    }  # fmt: skip


def differ(one: Result, other: Result) -> bool | None:
    return one["intent"] != other["intent"]


def read(folder: Path, *lines: tuple[dict[str, Any], list[dict[str, Any]]]) -> LabelledFile:
    file = folder / "labelled.jsonl"
    file.write_text(
        "\n".join(json.dumps({"answer": one, "labels": labels}) for one, labels in lines)
    )
    return read_labelled(file, "tickets", failures={"refused"}, differ=differ)


def test_an_answer_stands_for_all_that_it_was_drawn_from(tmp_path: Path) -> None:
    [found] = read(tmp_path, (answer(), [label(True)])).examples
    assert (found.key, found.wrong, found.label) == ("w", False, "billing")
    assert found.chance == pytest.approx(0.05)
    assert found.wrong_fields == {"intent": False, "fields.order": False}


def test_of_several_verdicts_one_is_enough_to_say_that_an_answer_is_wrong(tmp_path: Path) -> None:
    given = [label(True), label(True, person="bo"), label(False, person="cy")]
    found = read(tmp_path, (answer(), given[:2]), (answer(), given))
    assert [each.wrong for each in found.examples] == [False, True]


def test_which_fields_are_wrong_is_known_where_it_was_said(tmp_path: Path) -> None:
    said, unsaid = label(False, wrong_fields=["/fields/order"]), label(False)
    found = read(tmp_path, (answer(), [said]), (answer(), [unsaid]))
    assert found.examples[0].wrong_fields == {"intent": False, "fields.order": True}
    assert found.examples[1].wrong_fields == {}


def test_fields_of_which_a_person_changed_their_mind_are_not_wrong(tmp_path: Path) -> None:
    before, after = label(False, wrong_fields=["/fields/order"]), label(True)
    came_back = label(False, person="crm", chance=None, wrong_fields=["/intent"])
    [found] = read(tmp_path, (answer(), [before, after, came_back])).examples
    assert found.wrong is False
    assert found.wrong_fields == {"intent": False, "fields.order": False}


@pytest.mark.parametrize(
    ("haiku", "right", "wrong"),
    [("billing", True, False), ("billing", False, True), ("fault", True, True)],
)
def test_where_sonnet_decided_haiku_is_judged_by_what_it_said(
    haiku: str, right: bool, wrong: bool, tmp_path: Path
) -> None:
    decided = answer(
        decided_by="sonnet",
        haiku_result={"intent": haiku},
        haiku_signals=[{"code": "unclear", "strength": 1}],
    )
    [found] = read(tmp_path, (decided, [label(right)])).examples
    assert found.wrong == wrong
    assert [each.code for each in found.signals] == ["unclear"]


def test_what_cannot_be_weighed_or_is_not_known_is_left_out_and_counted(tmp_path: Path) -> None:
    both_differ = answer(decided_by="sonnet", haiku_result={"intent": "fault"})
    found = read(
        tmp_path,
        (answer(), [label(True, chance=None)]),
        (answer(), []),
        (both_differ, [label(False)]),
    )
    assert not found.examples
    assert sorted(found.left_out.values()) == [1, 2]


def test_a_file_of_nothing_usable_is_refused_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no labelled answers of tickets"):
        read(tmp_path, (answer(stage="texts"), []))
    with pytest.raises(UsageError, match=r"labelled\.jsonl:1: answer\.chance"):
        read(tmp_path, (answer(chance=0), []))
    with pytest.raises(UsageError, match="cannot be read"):
        read_labelled(tmp_path / "absent", "tickets", failures=(), differ=differ)


def test_an_evaluation_is_read_as_labels(tmp_path: Path) -> None:
    haiku = {
        "right": False, "said": "billing", "confidence": None, "fields": {"intent": False},
        "signals": [{"code": "refused", "strength": 1.0, "fields": []}],
    }  # fmt: skip
    own_data = {**haiku, "right": True, "signals": []}
    cases = [{"id": "1", "key": "k", "haiku": each} for each in (haiku, own_data)]
    file = tmp_path / "evaluation.json"
    file.write_text(json.dumps({"stage": "tickets", "cases": cases}))
    [found] = read_labelled(file, "tickets", failures={"refused"}, differ=differ).examples
    assert found.wrong
    assert found.failed
    assert found.wrong_fields == {"intent": True}
    with pytest.raises(UsageError, match="of tickets, not of texts"):
        read_labelled(file, "texts", failures=(), differ=differ)
