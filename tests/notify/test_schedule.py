"""What is due: once when it begins, once when it ends, and not at night."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.notifications import NotificationSettings, WebhookSettings
from pipeline.notify.conditions import Condition
from pipeline.notify.schedule import HourlyLimit, due, is_quiet
from pipeline.notify.watcher import decode, encode

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)  # a Wednesday


def condition(title: str) -> Condition:
    return Condition(title, "text", NOON)


@given(st.lists(st.sets(st.sampled_from("abcde")), max_size=20))
def test_what_was_sent_is_always_what_holds_and_nothing_twice(rounds: list[set[str]]) -> None:
    announced: dict[str, datetime] = {}
    for holding in rounds:
        for sent in due([condition(title) for title in holding], announced, NOON):
            if sent.state == "begun":
                assert sent.title not in announced
                announced[sent.title] = sent.since
            else:
                del announced[sent.title]
        assert announced.keys() == holding


def test_what_ended_is_said_first_and_since_when_it_held() -> None:
    (ended, begun) = due([condition("new")], {"old": NOON - timedelta(hours=1)}, NOON)
    assert (ended.state, ended.title, ended.since) == ("ended", "old", NOON - timedelta(hours=1))
    assert (begun.state, begun.title) == ("begun", "new")


def at(hour: int, day: int = 25) -> datetime:
    return datetime(2026, 11, day, hour, tzinfo=UTC)


NIGHT = {"quiet_from": "22:00", "quiet_until": "07:00"}


@pytest.mark.parametrize(
    ("settings", "moment", "quiet"),
    [
        ({}, at(3), False),
        (NIGHT, at(23), True),
        (NIGHT, at(3), True),
        (NIGHT, at(7), False),
        (NIGHT, at(21), False),
        (NIGHT | {"time_zone": "Europe/Berlin"}, at(21), True),
        (NIGHT | {"time_zone": "Europe/Berlin"}, at(6), False),
        ({"quiet_from": "12:00", "quiet_until": "13:00"}, at(12), True),
        ({"quiet_from": "12:00", "quiet_until": "13:00"}, at(13), False),
        ({"quiet_days": ["sat", "sun"]}, at(12, day=28), True),
        ({"quiet_days": ["sat", "sun"]}, at(12, day=27), False),
        ({"quiet_days": ["sat"], "time_zone": "Asia/Tokyo"}, at(16, day=27), True),
    ],
)
def test_quiet_hours_are_those_of_the_time_zone(
    settings: dict[str, Any], moment: datetime, quiet: bool
) -> None:
    assert is_quiet(NotificationSettings.model_validate(settings), moment) == quiet


def test_an_hour_has_room_for_so_many() -> None:
    limit = HourlyLimit(2)
    limit.count(NOON)
    limit.count(NOON + timedelta(minutes=30))
    assert limit.room(NOON + timedelta(minutes=59)) == 0
    assert limit.room(NOON + timedelta(minutes=60)) == 1


SECONDS = st.integers(0, 2**32).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
TITLES = st.dictionaries(st.text(max_size=80), SECONDS, max_size=60)


@given(st.dictionaries(st.text(max_size=20), TITLES, max_size=3))
def test_what_was_announced_is_kept_within_what_brokers_take(
    announced: dict[str, dict[str, datetime]],
) -> None:
    text = encode(announced)
    assert len(text.encode()) <= 3500
    for name, titles in decode(text).items():
        assert titles.keys() <= announced[name].keys()


@pytest.mark.parametrize("note", ["", "no JSON", "[]", '{"a": 1}', '{"a": {"b": "c"}}', "null"])
def test_a_note_of_something_else_is_as_none(note: str) -> None:
    assert decode(note) == {}


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"time_zone": "Europe/Atlantis"}, "time zone"),
        ({"quiet_from": "22:00"}, "quiet_until"),
        ({"webhooks": {"a": {}}}, "one of url and url_file"),
        ({"webhooks": {"a": {"url": "https://x", "secret": "a", "secret_file": "b"}}}, "secret"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        NotificationSettings.model_validate(settings)


def test_the_address_of_a_webhook_is_never_shown() -> None:
    settings = WebhookSettings.model_validate({"url": "https://hooks.example/secret-part"})
    assert "secret-part" not in repr(settings)
