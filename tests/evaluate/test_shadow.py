"""Other settings beside those in force, on the same events, and putting them in force."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import orjson
import pytest

from pipeline.config import Settings, load_settings
from pipeline.evaluate.blind_verdicts import document, prove, sides, to_be_judged
from pipeline.evaluate.promotion import candidate_settings, promote, rollback
from pipeline.evaluate.shadow import ShadowReport, compare, cost, drawn_events, is_drawn
from pipeline.model.errors import UsageError
from pipeline.model.json_bytes import dumps
from pipeline.model.records import Tier, now
from pipeline.stream.records import Received
from pipeline.testing.fakes import FakeAsker
from tests.evaluate.evaluations import World

STRICT = "[thresholds.stages.tickets]\nlow_confidence = 0.03\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def answers(body: str, tier: Tier) -> Mapping[str, Any]:
    if "unsure" in body:
        return {"confidence": 0.3}
    wrong = "haiku-wrong" in body and tier is Tier.HAIKU
    return {"intent": "sales" if wrong else "billing"}


async def records(bodies: Sequence[str]) -> AsyncIterator[Received]:
    for number, body in enumerate(bodies):
        value = orjson.dumps({"id": f"T-{number}", "body": body}) if body else b"{"
        yield Received("tickets.raw", 0, number, b"k", value, (), now(), now())


async def compared(folder: Path, *bodies: str, candidate: str = STRICT) -> ShadowReport:
    (folder / "candidate.toml").write_text(candidate)
    world = World(folder, [], answers)
    asker = FakeAsker(world.reply, model=lambda _: world.model)
    in_force = Settings.model_validate({"stages": {"tickets": {"audit_share": 0}}})
    (folder / "pipeline.toml").write_text("[stages.tickets]\naudit_share = 0")
    return await compare(
        in_force,
        candidate_settings("tickets", folder / "candidate.toml"),
        "tickets",
        records(bodies),
        askers=lambda _: nullcontext(asker),
        place="here",
        answers=folder / "answers.sqlite3",
    )


async def test_an_event_is_followed_to_its_end_by_both_settings(folder: Path) -> None:
    found = await compared(folder, "all fine", "haiku-wrong", "haiku-unsure")
    assert found.ends == {("haiku", "sonnet"): 2, ("review", "review"): 1}
    assert [pair.id for pair in found.changed] == ["T-1"]
    escalated = found.share(lambda each: each.is_escalated)
    assert (escalated.before, escalated.after) == (1 / 3, 1.0)
    assert escalated.interval.value == pytest.approx(2 / 3)
    dollars = found.mean(cost)
    assert dollars is not None
    assert dollars.after > dollars.before > 0


async def test_what_both_ask_alike_is_paid_for_once_and_a_second_time_nothing_is(
    folder: Path,
) -> None:
    bodies = ("all fine", "haiku-wrong", "haiku-unsure")
    found = await compared(folder, *bodies)
    # Three of the first tier; of the second one by both, and two by the candidate alone.
    assert (found.counts.asked, found.counts.recorded) == (6, 4)
    again = await compared(folder, *bodies)
    assert again.counts.asked == 0
    assert again.ends == found.ends


async def test_no_event_at_all_is_said(folder: Path) -> None:
    with pytest.raises(UsageError, match="no events"):
        await compared(folder)


async def test_what_is_broken_is_a_dead_letter_on_both_sides(folder: Path) -> None:
    found = await compared(folder, "")
    assert found.ends == {("dead_letter", "dead_letter"): 1}
    assert not found.changed


def judged(folder: Path, report: ShadowReport, right: str | None) -> tuple[Path, Path, Path]:
    """The candidate, the comparison, and verdicts that say of all which side is right."""
    candidate = folder / "candidate.toml"
    comparison, verdicts = folder / "comparison.json", folder / "verdicts.jsonl"
    comparison.write_bytes(dumps(document(report, candidate)))
    lines = []
    for line in to_be_judged(report).splitlines():
        case = orjson.loads(line)
        a, _ = sides(case["id"])
        case["right"] = None if right is None else "a" if a == right else "b"
        lines.append(orjson.dumps(case))
    verdicts.write_bytes(b"\n".join(lines))
    return candidate, comparison, verdicts


async def test_verdicts_on_the_differences_prove_a_candidate_no_worse(folder: Path) -> None:
    bodies = [f"fine {n}" for n in range(95)] + [f"haiku-wrong {n}" for n in range(5)]
    report = await compared(folder, *bodies)
    files = judged(folder, report, "after")
    proof = prove("tickets", *files, margin=0.05)
    assert (proof.finding.worse, proof.finding.better, proof.missing) == (0, 5, 0)
    assert proof.holds
    assert not prove("tickets", *files, margin=0.05, trial=99).holds
    assert not prove("tickets", *judged(folder, report, "before"), margin=0.05).holds


async def test_a_difference_that_nobody_judged_counts_as_worse(folder: Path) -> None:
    report = await compared(folder, "all fine", "haiku-wrong")
    proof = prove("tickets", *judged(folder, report, None), margin=0.05)
    assert (proof.finding.worse, proof.missing) == (1, 1)


async def test_a_comparison_holds_for_its_candidate_and_the_settings_in_force_alone(
    folder: Path,
) -> None:
    report = await compared(folder, "all fine", "haiku-wrong")
    files = judged(folder, report, "after")
    (folder / "pipeline.toml").write_text("[thresholds]\nlow_confidence = 0.4")
    with pytest.raises(UsageError, match="have changed since"):
        prove("tickets", *files, margin=0.05)
    (folder / "candidate.toml").write_text(STRICT + "\n")
    with pytest.raises(UsageError, match="another candidate"):
        prove("tickets", *files, margin=0.05)


async def test_a_person_does_not_see_which_settings_gave_an_answer(folder: Path) -> None:
    report = await compared(folder, *(f"haiku-wrong {n}" for n in range(40)))
    first = {orjson.loads(line)["a"]["intent"] for line in to_be_judged(report).splitlines()}
    assert first == {"billing", "sales"}


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("[thresholds]\nlow_confidence = 0.1", "invoices"),
        ("[models]\nhaiku = 'claude-x'", "images"),
        ("[stages.tickets", "is not TOML"),
        ("[stages.tickets]\nno_such = 1", "no_such"),
    ],
)
def test_a_candidate_decides_about_one_stage_alone(folder: Path, content: str, named: str) -> None:
    (folder / "candidate.toml").write_text(content)
    with pytest.raises(UsageError, match=named):
        candidate_settings("tickets", folder / "candidate.toml")


def test_a_promotion_is_in_force_at_once_and_is_taken_back_as_it_was(folder: Path) -> None:
    def threshold() -> float | None:
        own = load_settings().thresholds.stages.get("tickets")
        return None if own is None else own.low_confidence

    for value in (0.1, 0.2):
        (folder / "candidate.toml").write_text(STRICT.replace("0.03", str(value)))
        assert promote("tickets", folder / "candidate.toml") == []
        assert threshold() == value
    rollback("tickets")
    assert threshold() == 0.1
    with pytest.raises(UsageError, match="nothing to go back to"):
        rollback("tickets")


def test_the_first_promotion_taken_back_leaves_nothing_behind(folder: Path) -> None:
    (folder / "candidate.toml").write_text(STRICT)
    promote("tickets", folder / "candidate.toml")
    rollback("tickets")
    assert not list((folder / "promoted").iterdir())


def test_a_promotion_says_what_waits_for_the_next_start(folder: Path) -> None:
    (folder / "candidate.toml").write_text("[stages.tickets]\nevents_per_request = 4")
    [later] = promote("tickets", folder / "candidate.toml")
    assert "events_per_request" in later


async def test_a_share_draws_the_same_events_each_time() -> None:
    found = [each async for each in records(["x"] * 2000)]
    drawn = [each.offset for each in found if is_drawn(each, 0.1)]
    assert 140 <= len(drawn) <= 260
    assert drawn == [each.offset for each in found if is_drawn(each, 0.1)]
    with pytest.raises(UsageError, match="share"):
        is_drawn(found[0], 0.0)


async def test_events_of_a_file_are_those_that_publish_takes(folder: Path) -> None:
    file = folder / "events.jsonl"
    file.write_text(
        '{"id": "1", "body": "a"}\n{"id": "2", "body": "b"}\n{"id": "3", "body": "c"}\n'
    )
    drawn = drawn_events(Settings(), "tickets", share=1.0, most=2, file=file)
    assert [orjson.loads(each.value or b"")["id"] async for each in drawn] == ["1", "2"]
