"""`pipeline trust`: from a file of verdicts to a statement and an exit code."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run


def verdicts(folder: Path, right: int, wrong: int, **more: object) -> str:
    lines = [{"id": n, "right": n >= wrong, **more} for n in range(right + wrong)]
    file = folder / "verdicts.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)))
    return str(file)


def test_enough_right_answers_are_certified_and_too_few_are_not(run: Run, tmp_path: Path) -> None:
    ran = run("trust", "certify", verdicts(tmp_path, 59, 0))
    assert ran.code == 0
    assert "Certified: at least 95.0% right, with 95.0% confidence (exact)." in ran.out
    ran = run("trust", "certify", verdicts(tmp_path, 58, 0))
    assert ran.code == 1
    assert "Not certified" in ran.out


def test_verdicts_of_one_key_prove_less(run: Run, tmp_path: Path) -> None:
    ran = run("trust", "certify", verdicts(tmp_path, 200, 0, key="one customer"), "--json")
    assert ran.code == 1
    found = json.loads(ran.out)
    assert (found["finding"]["keys"], found["finding"]["method"]) == (1, "as they come")


def test_labels_are_planned(run: Run) -> None:
    found = json.loads(run("trust", "plan", "--json").out)
    assert [(each["right"], each["labels"]) for each in found] == [(0.99, 124), (0.98, 234)]
    assert "no number" in run("trust", "plan", "--right", "0.9").out


def test_an_alarm_is_raised_where_many_are_wrong(run: Run, tmp_path: Path) -> None:
    ran = run("trust", "watch", verdicts(tmp_path, 0, 40))
    assert ran.code == 1
    assert "Alarm at label" in ran.out
    calm = "\n".join(json.dumps({"id": n, "right": n % 50 != 49}) for n in range(200))
    (tmp_path / "verdicts.jsonl").write_text(calm)
    ran = run("trust", "watch", str(tmp_path / "verdicts.jsonl"))
    assert ran.code == 0
    assert "No alarm: 4 of 200 wrong" in ran.out


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("[1", "verdicts.jsonl:1: the line: Invalid JSON"),
        ('{"id": 1}', "verdicts.jsonl:1: right: Field required"),
        ('{"id": 1, "right": "yes"}', "right: Input should be a valid boolean"),
        ('{"id": 1, "right": true, "chance": 0}', "chance: Input should be greater than 0"),
        ('{"id": 1, "right": true}\n{"id": "1", "right": true}', "'1' is there twice"),
        ("", "has no verdicts"),
    ],
)
def test_what_is_no_verdict_is_named(run: Run, tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "verdicts.jsonl").write_text(line)
    ran = run("trust", "certify", str(tmp_path / "verdicts.jsonl"))
    assert ran.code == 2
    assert said in ran.err


@pytest.mark.parametrize(
    "wrong",
    [
        ("certify", "FILE", "--target", "1"),
        ("watch", "FILE", "--target", "0"),
        ("plan", "--right", "2"),
    ],
)
def test_a_share_that_is_none_is_refused(run: Run, tmp_path: Path, wrong: tuple[str, ...]) -> None:
    file = verdicts(tmp_path, 5, 0)
    assert run("trust", *(file if part == "FILE" else part for part in wrong)).code == 2


def test_a_judge_is_reported_by_its_agreement_with_people(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    source = "The parcel arrived on Monday and one cup was broken."
    lines = [
        {"id": str(n), "source": source, "a": "A cup was broken.", "b": "All is well.",
         "verdict": "a" if n else None}
        for n in range(3)
    ]  # fmt: skip
    file.write_text("\n".join(map(json.dumps, lines)))
    ran = run("trust", "judge", str(file), "--simulated", "--json")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert found["agreement"]["pairs"] == 2
    assert sum(found["choices"].values()) == 1
    assert found["model"].startswith("simulated-")
    file.write_text(json.dumps({**lines[0], "verdict": None}))
    ran = run("trust", "judge", str(file), "--simulated")
    assert ran.code == 2
    assert "has a person's verdict" in ran.err
