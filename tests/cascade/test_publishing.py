"""What is published where the brokers refuse, down to the smallest dead letter."""

from datetime import UTC, datetime
from hashlib import sha256

import pytest

from pipeline.cascade.publishing import HEADERS_KEPT, KEY_KEPT, UnpublishableHandler
from pipeline.model.observer import Observer
from pipeline.model.records import DeadLetterHeaders
from pipeline.stream.records import (
    Disposition,
    Headers,
    Original,
    Outcome,
    Outgoing,
    Received,
    Unread,
)

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
MIB = 1 << 20


class Ends(Observer):
    def __init__(self) -> None:
        self.dead: list[str] = []

    def dead_lettered(self, stage: str, reason: str) -> None:
        self.dead.append(reason)


def received(
    value: bytes | None = b"v",
    key: bytes | None = b"k",
    headers: Headers = (),
    unread: Unread | None = None,
) -> Received:
    return Received("tickets.raw", 3, 41, key, value, headers, NOW, NOW, unread)


@pytest.fixture
def ends() -> Ends:
    return Ends()


@pytest.fixture
def rescue(ends: Ends) -> UnpublishableHandler:
    return UnpublishableHandler("tickets", "dead-letters", clock=lambda: NOW, observer=ends)


def dead_letter_of(outcome: Outcome | None) -> Outgoing:
    assert outcome is not None
    assert outcome.end is Disposition.DEAD_LETTER
    [letter] = outcome.records
    assert letter.topic == "dead-letters"
    return letter


def about(letter: Outgoing) -> DeadLetterHeaders:
    ours = {name: content for name, content in letter.headers if name.startswith("dlq-")}
    texts = {name: content.decode() for name, content in ours.items() if content is not None}
    return DeadLetterHeaders.model_validate_strings(texts)


def smallest(rescue: UnpublishableHandler, record: Received) -> Outgoing:
    """What is left after the brokers refused an enriched result and the whole dead letter."""
    enriched = Outcome(Disposition.ENRICHED, (Outgoing("out", record.key, b"x", ()),))
    whole = rescue(record, enriched, "too large")
    assert dead_letter_of(whole).value == record.value
    small = rescue(record, whole, "too large")
    assert rescue(record, small, "too large") is None
    return dead_letter_of(small)


def weight(letter: Outgoing) -> int:
    headers = sum(len(name) + len(content or b"") for name, content in letter.headers)
    return headers + len(letter.key or b"") + len(letter.value or b"")


def test_a_result_that_is_too_large_becomes_a_dead_letter_with_the_whole_record(
    rescue: UnpublishableHandler, ends: Ends
) -> None:
    record = received(b"whole", headers=(("a", b"1"), ("a", None)))
    enriched = Outcome(Disposition.ENRICHED, (Outgoing("out", b"k", b"x" * MIB, ()),))
    letter = dead_letter_of(rescue(record, enriched, "1 record is too large."))
    assert (letter.key, letter.value) == (b"k", b"whole")
    assert letter.headers[:2] == (("a", b"1"), ("a", None))
    assert about(letter).reason == "too_large"
    assert about(letter).detail == "1 record is too large."
    assert about(letter).original_sha256 is None
    assert ends.dead == ["too_large"]


@pytest.mark.parametrize(
    ("key", "value", "headers"),
    [
        pytest.param(b"k", b"a" * (17 * MIB), (), id="value"),
        pytest.param(b"k" * (17 * MIB), b"v", (), id="key"),
        pytest.param(None, b"a" * MIB, (("h", b"1"),), id="no key"),
        pytest.param(b"k", b"v", (("h", b"x" * MIB),), id="one header"),
        pytest.param(b"k", b"v", (("name" * MIB, None),), id="a header's name"),
        pytest.param(b"k", b"v", (("", None),) * 10_000, id="very many headers"),
        pytest.param(b"k", b"", (("h", b"x" * MIB),), id="empty value"),
    ],
)
def test_what_not_even_a_dead_letter_can_carry_becomes_a_small_one(
    rescue: UnpublishableHandler, key: bytes | None, value: bytes, headers: Headers
) -> None:
    record = received(value, key, headers)
    letter = smallest(rescue, record)
    assert weight(letter) < KEY_KEPT + HEADERS_KEPT + 2048
    # Not null: compaction would take that for the removal of the key.
    assert letter.value == b""
    assert letter.key == (None if key is None else key[:KEY_KEPT])
    said = about(letter)
    assert (said.reason, said.original) == ("too_large", "not_carried")
    assert (said.topic, said.partition, said.offset) == ("tickets.raw", 3, 41)
    assert said.original_sha256 == sha256(value).hexdigest()
    assert said.original_value_bytes == len(value)
    assert said.original_key_bytes == len(key or b"")
    assert said.original_headers == len(headers)
    assert said.original_header_bytes == sum(len(name) + len(c or b"") for name, c in headers)


def test_a_small_letter_keeps_small_headers_as_they_were(rescue: UnpublishableHandler) -> None:
    headers: Headers = (("traceparent", b"00-1"), ("a", None), ("b", b""), ("a", b"\xff"))
    letter = smallest(rescue, received(b"a" * MIB, headers=headers))
    assert letter.headers[: len(headers)] == headers


def test_a_record_that_was_not_read_is_said_to_be_where_it_is(
    rescue: UnpublishableHandler, ends: Ends
) -> None:
    original = Original(5000, 1 << 30, "ab" * 32, 2, 9000)
    record = received(None, b"k" * 1024, unread=Unread("It holds 1 GiB.", original))
    letter = dead_letter_of(rescue(record, None, "It holds 1 GiB."))
    said = about(letter)
    assert (said.reason, said.original) == ("too_large", "not_carried")
    assert said.detail == "It holds 1 GiB."
    assert (said.original_key_bytes, said.original_value_bytes) == (5000, 1 << 30)
    assert said.original_sha256 == "ab" * 32
    assert ends.dead == ["too_large"]


def test_of_a_broken_record_nothing_is_claimed_but_its_place(rescue: UnpublishableHandler) -> None:
    broken = received(None, None, unread=Unread("Its batch is broken."))
    said = about(dead_letter_of(rescue(broken, None, "Its batch is broken.")))
    assert (said.reason, said.original) == ("invalid_event", "unreadable")
    assert said.original_sha256 is None
    assert (said.topic, said.partition, said.offset) == ("tickets.raw", 3, 41)


def test_an_event_is_counted_as_a_dead_letter_once(
    rescue: UnpublishableHandler, ends: Ends
) -> None:
    smallest(rescue, received(b"a" * MIB))
    assert ends.dead == ["too_large"]
