"""Evaluations from end to end, of models that answer as a test says."""

import json
import re
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import Settings
from pipeline.evaluate.evaluation import Evaluation, variant
from pipeline.evaluate.report import (
    document,
    fails,
    page,
    proposal_sentences,
    settings_to_copy,
    warnings,
    write,
)
from pipeline.model.errors import UsageError
from pipeline.model.records import Tier
from tests.evaluate.evaluations import World


def answers(body: str, tier: Tier) -> Mapping[str, Any]:
    """A body says which tier is wrong or unsure about it."""
    wrong = f"{tier}-wrong" in body
    unsure = f"{tier}-unsure" in body
    return {
        "intent": "sales" if wrong else "billing",
        "confidence": 0.4 if unsure else 0.95,
        "unclear": "nonsense" in body,
    }


def world(folder: Path, *bodies: str, model: str = "claude-haiku-5-5") -> World:
    rows = [
        {"id": f"T-{number}", "body": body, "intent": "billing", "oos": "nonsense" in body}
        for number, body in enumerate(bodies)
    ]
    return World(folder, rows, answers, model)


MIXED = (
    "all fine", "haiku-wrong", "haiku-unsure", "haiku-wrong haiku-unsure",
    "haiku-unsure sonnet-wrong", "haiku-unsure sonnet-unsure sonnet-wrong haiku-wrong", "nonsense",
)  # fmt: skip


async def test_each_event_ends_where_its_answers_send_it(tmp_path: Path) -> None:
    found = await world(tmp_path, *MIXED).evaluate()
    assert found.measures.ends == {
        "haiku_right": 1,
        "haiku_wrong": 1,
        "sonnet_right": 2,
        "sonnet_wrong": 1,
        "review": 2,
    }
    assert {name: count for name, count in found.measures.escalations.items() if count} == {
        "fixed": 1,
        "broken": 1,
        "wasted": 1,
        "hopeless": 1,
        "out_of_scope_caught": 1,
    }
    assert found.measures.cascade.well == 4
    # Seven answers of the one, five of the other, at 0.00002 each.
    assert str(found.measures.cascade.cost_usd) == "0.00024"
    assert found.scoring.rule == "An answer counts as right when its intent is."


async def test_a_run_that_was_broken_off_asks_the_rest_only(tmp_path: Path) -> None:
    broken = world(tmp_path, *MIXED)

    def stops(body: str, tier: Tier) -> Mapping[str, Any]:
        if len(broken.asked) > 4:
            raise RuntimeError("the lights went out")
        return answers(body, tier)

    broken.answers = stops
    with pytest.raises(ExceptionGroup):
        await broken.evaluate()
    resumed = world(tmp_path, *MIXED)
    found = await resumed.evaluate()
    assert found.origin.asked + found.origin.recorded == 14
    assert found.origin.recorded == 4
    assert len(resumed.asked) == 10
    whole = await world(tmp_path, *MIXED).evaluate(recorded=True)
    assert document(whole)["ends"] == document(found)["ends"]


async def test_thresholds_are_judged_without_asking_again(tmp_path: Path) -> None:
    await world(tmp_path, *MIXED).evaluate()
    stricter = variant(Settings(), "tickets", "thresholds.low_confidence=0.01")
    again = world(tmp_path, *MIXED)
    found = await again.evaluate(stricter, compare=("thresholds.low_confidence=0.7",))
    assert again.asked == []
    assert found.measures.cascade.escalated == 7
    (looser,) = found.comparisons
    assert looser.strategies[2].escalated == 1
    assert [row.strategy.escalated for row in found.measures.sweep if row.threshold == 0.7] == [1]


async def test_a_second_opinion_is_asked_for_as_in_production(tmp_path: Path) -> None:
    def unsure(body: str, tier: Tier) -> Mapping[str, Any]:
        return {"confidence": 0.65 if tier is Tier.HAIKU else 0.95}

    settings = variant(Settings(), "tickets", 'escalation.second_opinion={"tickets": 0.3}')
    asking = World(tmp_path, [{"id": "T-1", "body": "hello", "intent": "billing"}], unsure)
    alone = await asking.evaluate()
    assert alone.measures.cascade.escalated == 1
    found = await asking.evaluate(settings)
    # The second answer agrees, so the first one is taken.
    assert found.measures.cascade.escalated == 0
    assert found.measures.cascade.calls == 2


async def test_the_origin_is_what_the_models_call_themselves(tmp_path: Path) -> None:
    stand_in = world(tmp_path, "one", model="simulated-claude-haiku-5-5")
    assert (await stand_in.evaluate(place="a")).origin.word == "stand-in"
    assert (await stand_in.evaluate(place="a", recorded=True)).origin.word == "stand-in"
    real = world(tmp_path, "one")
    assert (await real.evaluate(place="b")).origin.word == "live"
    recorded = await real.evaluate(place="b", recorded=True)
    assert recorded.origin.word == "recorded"
    for found, word in ((recorded, "recorded"), (await stand_in.evaluate(place="a"), "stand-in")):
        assert f"<b>{word}</b>" in page(found)
        assert document(found)["origin"]["word"] == word


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("models.haiku=claude-haiku-4-5", "the first model"),
        ("claude.sonnet_effort=high", "the second model"),
        ("events_per_request=4", "the number of events in a request"),
        (
            'intents=[{"name":"billing","description":"Money."},{"name":"sales"}]',
            "the prompt, the stage's labels",
        ),
    ],
)
async def test_a_calibration_is_stale_once_what_it_depends_on_has_changed(
    tmp_path: Path, change: str, said: str
) -> None:
    asking = world(tmp_path, *MIXED)
    _, earlier = write(await asking.evaluate(), tmp_path / "earlier")
    same = await asking.evaluate(baseline=earlier)
    assert warnings(same, None) == []
    changed = await asking.evaluate(
        variant(Settings(), "tickets", change), baseline=earlier, place="elsewhere"
    )
    (warning,) = warnings(changed, None)
    assert f"stale: {said} changed since" in warning
    assert "stale" in page(changed)
    assert document(changed)["baseline"]["warning"] == warning


@pytest.mark.parametrize("change", ["low_confidence=0.1", "unclear=2", "sonnet.unclear=2"])
async def test_a_changed_threshold_makes_it_stale(tmp_path: Path, change: str) -> None:
    asking = world(tmp_path, *MIXED)
    _, earlier = write(await asking.evaluate(), tmp_path / "earlier")
    other = variant(Settings(), "tickets", f"thresholds.{change}")
    (warning,) = warnings(await asking.evaluate(other, baseline=earlier), None)
    assert "stale: the thresholds changed since" in warning


async def test_the_threshold_that_was_proposed_does_not_make_it_stale(tmp_path: Path) -> None:
    asking = world(tmp_path, *(f"ticket {number}" for number in range(200)))
    found = await asking.evaluate()
    _, earlier = write(found, tmp_path / "earlier")
    chosen = found.measures.proposal.chosen
    assert chosen is not None
    taken = variant(Settings(), "tickets", f"thresholds.low_confidence={chosen.threshold}")
    assert warnings(await asking.evaluate(taken, baseline=earlier), None) == []


async def test_what_is_no_evaluation_is_no_baseline(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("[]")
    with pytest.raises(UsageError, match="not the JSON file of an evaluation"):
        await world(tmp_path, "one").evaluate(baseline=tmp_path / "x.json")


async def test_a_proposed_threshold_carries_what_it_depends_on(tmp_path: Path) -> None:
    bodies = [f"ticket {number}" for number in range(200)]
    found = await world(tmp_path, *bodies).evaluate()
    assert found.measures.proposal.chosen is not None
    copied = settings_to_copy(found)
    assert copied is not None
    assert "[thresholds.stages.tickets]\nlow_confidence = " in copied
    assert found.fingerprint.prompt in copied
    assert found.fingerprint.labels in copied
    assert document(found)["proposal"]["fingerprint"]["prompt"] == found.fingerprint.prompt
    assert copied.splitlines()[-1] in page(found)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("ticket", "labelled ones in all would have a chance"),
        ("haiku-wrong", "a larger share was wrong"),
        ("nonsense", "No answer was accepted at all"),
    ],
)
async def test_why_nothing_is_certified_is_said(tmp_path: Path, body: str, said: str) -> None:
    found = await world(tmp_path, *(f"{body} {number}" for number in range(12))).evaluate()
    assert found.measures.proposal.chosen is None
    _, why, published = proposal_sentences(found)
    assert "Not certifiable with this many items" in why
    assert said in why
    assert "not certified" in published


async def test_labels_that_the_stage_does_not_have_are_named(tmp_path: Path) -> None:
    asking = world(tmp_path, "one")
    asking.rows[0]["intent"] = "returns"
    found = await asking.evaluate()
    (remark,) = warnings(found, None)
    assert "returns" in remark
    assert "billing" in remark


async def test_an_event_that_no_stage_takes_is_in_no_table_and_named(tmp_path: Path) -> None:
    asking = world(tmp_path, "one", "two")
    del asking.rows[1]["body"]
    found = await asking.evaluate()
    assert (found.lines, found.measures.items) == (2, 1)
    assert [each.id for each in found.dead_letters] == ["T-1"]
    assert "T-1" in page(found)


async def test_the_gate_looks_at_all_events(tmp_path: Path) -> None:
    found = await world(tmp_path, *MIXED).evaluate()
    assert not fails(found, None)
    assert not fails(found, 4 / 7)
    assert fails(found, 0.58)


class Elements(HTMLParser):
    """The elements of a page, outside of scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


async def hostile(folder: Path) -> Evaluation:
    asking = world(folder, "haiku-wrong")
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
    asking.rows[0] |= {"id": evil, "intent": f"billing{evil}", "<b>extra</b>": 1}
    return await asking.evaluate()


async def test_whatever_is_in_the_data_is_shown_and_does_nothing(tmp_path: Path) -> None:
    elements = Elements()
    plain = Elements()
    plain.feed(page(await world(tmp_path, "haiku-wrong").evaluate()))
    elements.feed(page(await hostile(tmp_path)))
    assert elements.found.count("script") == plain.found.count("script") == 3
    assert "img" not in elements.found
    assert any("onerror=alert(1)" in text for text in elements.texts)


async def test_a_page_needs_nothing_but_itself(tmp_path: Path) -> None:
    html = page(await world(tmp_path, *MIXED).evaluate())
    assert "default-src 'none'" in html
    assert not re.search(r"""(?:src|href)=["'](?!data:)""", html)
    assert "@import" not in html
    assert "prefers-color-scheme: dark" in html
    assert "uPlot" in html
    (drawn,) = re.findall(r'<script type="application/json" id="plots">(.*?)</script>', html)
    plots = json.loads(drawn)
    assert set(plots) == {"risk-coverage", "reliability", "cost-accuracy"}
    for name, series in plots.items():
        assert f'id="{name}"' in html
        assert f'"{name}": {{' in html  # its axes and labels
        assert all(points == sorted(points) for points in series)
        assert all(len(point) == 2 for points in series for point in points)
    assert plots["risk-coverage"][0][-1] == [1.0, pytest.approx(4 / 7)]
    assert "$" not in re.sub(r"\$(?=[\d,.\"])", "", html.split("<main>")[1].split("</main>")[0])
