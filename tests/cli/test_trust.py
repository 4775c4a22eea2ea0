"""`pipeline trust`: from a file of verdicts to a statement and an exit code."""

import json
from pathlib import Path

import pytest

from pipeline.cascade.policy import Policy, settings_digest
from pipeline.config import Settings, load_settings
from pipeline.model.questions import Signal
from pipeline.model.records import Provenance, Tier
from pipeline.trust.export import export_line
from pipeline.trust.records import AnswerLabel, LabelledAnswer
from tests.cli.conftest import Run
from tests.trust.examples import answer, label


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


def evaluation(folder: Path, cases: int) -> str:
    """Half of what is wrong shows in the confidence; the rule sends on two thirds of the rest."""
    found = [
        {
            "id": str(at), "key": str(at),
            "haiku": {
                "right": at % 4 > 0, "confidence": 0.9, "said": "billing",
                "fields": {"intent": at % 4 > 0},
                "signals": [
                    {"code": "low_confidence", "strength": 0.1 + 0.3 * (at % 8 == 0)},
                    {"code": "several_matters", "strength": float(at % 3 > 0)},
                ],
            },
        }
        for at in range(cases)
    ]  # fmt: skip
    file = folder / "evaluation.json"
    file.write_text(json.dumps({"stage": "tickets", "cases": found}))
    return str(file)


def test_a_score_is_fitted_and_taken_by_the_settings(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="the extra `trust` is not installed")
    out = tmp_path / "score.json"
    ran = run("trust", "fit", "tickets", evaluation(tmp_path, 240), "--out", str(out))
    assert ran.code == 0, ran.err
    assert 'score = "' in ran.out
    settings = Settings.model_validate({"stages": {"tickets": {"score": str(out)}}})
    policy = Policy.from_settings(settings)["tickets", Tier.HAIKU]
    several = Signal("several_matters", 1.0, "")
    assert not policy.doubts([several, Signal("low_confidence", 0.1, "")])
    assert policy.doubts([several, Signal("low_confidence", 0.4, "")])


def test_with_too_few_labels_nothing_is_written(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="the extra `trust` is not installed")
    out = tmp_path / "score.json"
    ran = run("trust", "fit", "tickets", evaluation(tmp_path, 20), "--out", str(out))
    assert ran.code == 2
    assert "too few" in ran.err
    assert not out.exists()


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


def exported(folder: Path, *labels: AnswerLabel) -> str:
    file = folder / "export.jsonl"
    answers = [
        LabelledAnswer(answer(n, stage=each.stage), [each]) for n, each in enumerate(labels, 1)
    ]
    file.write_bytes(b"\n".join(map(export_line, answers)))
    return str(file)


def test_exported_labels_are_weighed_by_their_chance(run: Run, tmp_path: Path) -> None:
    file = exported(tmp_path, *(label(n, chance=0.5, right=n > 1) for n in range(1, 101)))
    found = json.loads(run("trust", "certify", file, "--target", "0.9", "--json").out)["finding"]
    assert (found["labels"], found["errors"], found["method"]) == (100, 1, "exact")
    mixed = exported(
        tmp_path, *(label(n, chance=0.5 if n > 1 else 0.05, right=n > 1) for n in range(1, 101))
    )
    found = json.loads(run("trust", "certify", mixed, "--json").out)["finding"]
    assert found["method"] == "as they come"
    assert found["estimate"] == pytest.approx(20 / (99 * 2 + 20))


def test_labels_that_nobody_drew_are_refused_until_they_are_left_out(
    run: Run, tmp_path: Path
) -> None:
    back = label(1, origin="feedback", person="crm", chance=None, right=False)
    file = exported(tmp_path, back, *(label(n) for n in range(2, 101)))
    ran = run("trust", "certify", file)
    assert ran.code == 2
    assert "--origin sample" in ran.err
    ran = run("trust", "certify", file, "--origin", "sample")
    assert "0 of 99 wrong" in ran.out


def test_one_stage_and_tier_can_be_looked_at_alone(run: Run, tmp_path: Path) -> None:
    file = exported(tmp_path, label(1), label(2, stage="mails"))
    assert "0 of 1 wrong" in run("trust", "certify", file, "--stage", "mails").out
    assert "0 of 2 wrong" in run("trust", "certify", file, "--tier", "haiku").out
    ran = run("trust", "watch", file, "--tier", "sonnet")
    assert ran.code == 2
    assert "pipeline review sample" in ran.err


def test_verdicts_of_which_some_have_no_chance_are_refused(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "verdicts.jsonl"
    file.write_text('{"id": 1, "right": true, "chance": 0.1}\n{"id": 2, "right": true}')
    ran = run("trust", "certify", str(file))
    assert ran.code == 2
    assert "1 of 2 verdicts have no chance" in ran.err


def test_a_certificate_is_issued_from_an_export(run: Run, tmp_path: Path) -> None:
    path, out = tmp_path / "export.jsonl", tmp_path / "certificate.json"
    made = Provenance(
        provider="anthropic", prompt="p", settings=settings_digest(load_settings(), "tickets")
    )
    lines = [
        {
            "answer": answer(n, provenance=made).model_dump(mode="json", by_alias=True),
            "labels": [label(n).model_dump(mode="json", by_alias=True)],
        }
        for n in range(90)
    ]
    path.write_text("\n".join(map(json.dumps, lines)))
    arguments = ("trust", "certify", str(path), "--out", str(out))
    assert "--stage" in run(*arguments).err
    ran = run(*arguments, "--stage", "tickets")
    assert ran.code == 0, ran.err
    assert "tickets: certified: haiku, stream, at least 95.0% right at 97.50% confidence" in ran.out
    assert json.loads(out.read_text())["stages"]["tickets"]["trials"][0]["number"] == 1
    # The same labels at once again are another attempt.
    again = json.loads(run(*arguments, "--stage", "tickets", "--target", "0.99", "--json").out)
    assert (again[0]["trial"], again[0]["holds"]) == (2, False)


def test_without_a_certificate_there_is_no_status(run: Run) -> None:
    ran = run("trust", "status")
    assert ran.code == 2
    assert "trust.certificate is not set" in ran.err
