from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.model.records import Enriched, Review, Source, Timing, Usage
from pipeline.observe.metrics import Recent, shortened

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
SOURCE = Source(topic="tickets.raw", partition=0, offset=1, timestamp=NOON)
TIMING = Timing(received_at=NOON, enriched_at=NOON + timedelta(seconds=2), model_seconds=1.5)

json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=600),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(), inner, max_size=20),
    max_leaves=40,
)


def enriched(number: int) -> Enriched[Any]:
    return Enriched[Any](
        schema_="tickets.enriched/1",
        event_id=f"T-{number}",
        stage="tickets",
        result={"intent": "billing"},
        decided_by="haiku",
        confidence=0.9,
        escalation=None,
        model="claude-haiku",
        usage=Usage(calls=1, cost_usd=Decimal("0.5")),
        source=SOURCE,
        timing=TIMING,
    )


def test_only_the_newest_are_kept_and_they_come_first() -> None:
    recent = Recent(2)
    for number in range(5):
        recent.add(enriched(number))
    shown = recent.newest_first()
    assert [record.event_id for record in shown] == ["T-4", "T-3"]
    assert (shown[0].seconds, shown[0].cost_usd, shown[0].doubts) == (2.0, 0.5, ())


def test_switched_off_nothing_is_kept() -> None:
    recent = Recent(0)
    recent.add(enriched(1))
    assert recent.newest_first() == []


def test_what_is_for_review_shows_the_result_and_never_the_event() -> None:
    recent = Recent(1)
    recent.add(
        Review(
            event_id="T-1",
            stage="tickets",
            event={"id": "T-1", "body": "my card 4111"},
            doubts=[],
            haiku_result=None,
            sonnet_result={"intent": "sales"},
            model="claude-sonnet",
            usage=Usage(cost_usd=None),
            source=SOURCE,
            timing=TIMING,
        )
    )
    [shown] = recent.newest_first()
    assert (shown.end, shown.decided_by, shown.cost_usd) == ("review", None, None)
    assert shown.result == {"intent": "sales"}
    assert "4111" not in repr(shown)


@given(json)
def test_what_is_shown_is_small_whatever_the_result(value: object) -> None:
    def check(shown: object, depth: int) -> None:
        assert depth <= 6
        if isinstance(shown, str):
            assert len(shown) <= 401
        elif isinstance(shown, dict):
            assert len(shown) <= 13
            for item in shown.values():
                check(item, depth + 1)
        elif isinstance(shown, list):
            assert len(shown) <= 13
            for item in shown:
                check(item, depth + 1)

    check(shortened(value), 0)


@pytest.mark.parametrize("value", ["short", 3, None, {"a": ["b", 1.5]}])
def test_what_is_small_is_shown_as_it_is(value: object) -> None:
    assert shortened(value) == value
