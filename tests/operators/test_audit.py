"""Who changed what with a command, as it is written and listed."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from pipeline.config import OperatorSettings
from pipeline.model.errors import UsageError
from pipeline.model.records import AuditOutcome
from pipeline.operators.audit import (
    AuditedCommand,
    hash_of_key,
    list_audit,
    person_named,
    selected,
)
from pipeline.operators.selection import Span
from pipeline.testing import MemoryBroker, MemoryTopicReader
from tests.operators.audited import command
from tests.stream.virtual import virtual_time

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def user(name: str) -> Callable[[], str]:
    return lambda: name


def test_a_person_is_who_they_say_or_the_user_of_the_system() -> None:
    settings = OperatorSettings()
    assert person_named(" Ada ", settings, user=user("root")) == "Ada"
    assert person_named(None, settings, user=user("root")) == "root"


@pytest.mark.parametrize("given", ["", "  ", "x" * 101])
def test_a_name_that_is_none_is_wrong_use(given: str) -> None:
    with pytest.raises(UsageError, match="--as"):
        person_named(given, OperatorSettings())


def test_a_name_is_a_must_where_the_settings_say_so_or_the_system_knows_none() -> None:
    with pytest.raises(UsageError, match=r"operators\.require_as"):
        person_named(None, OperatorSettings(require_as=True), user=user("root"))

    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 10001")

    with pytest.raises(UsageError, match="--as"):
        person_named(None, OperatorSettings(), user=nobody)


def test_what_was_selected_is_named_without_the_key_itself() -> None:
    found = selected(
        "ada@example.com", reason=["too_large"], stage=None, since=NOON, limit=5, again=False
    )
    assert found == {
        "key_sha256": [hash_of_key("ada@example.com")],
        "reason": ["too_large"],
        "since": ["2026-11-22T12:00:00+00:00"],
        "limit": ["5"],
    }


def test_a_long_selection_is_cut() -> None:
    found = selected(place=[f"0:{number}" for number in range(5000)], topic=["t" * 5000])
    assert len(found["place"]) == 21
    assert found["place"][-1] == "and 4,980 more"
    assert len(found["topic"][0]) == 250


class World:
    """A topic of audit records."""

    def __init__(self) -> None:
        self.broker = MemoryBroker()
        self.broker.create_topic("audit", 3)
        self.read = MemoryTopicReader(self.broker)

    def put(
        self,
        by: AuditedCommand,
        count: int,
        *,
        minutes: int = 0,
        outcome: AuditOutcome = AuditOutcome.DONE,
        did: str | None = None,
    ) -> None:
        at = NOON + timedelta(minutes=minutes)
        entry = by.entry(count, at=at, about="dead-letters", did=did, outcome=outcome)
        self.broker.publish(entry.topic, entry.value, key=entry.key)


@virtual_time
async def test_what_one_run_did_in_pieces_is_one_line() -> None:
    world = World()
    world.put(command(), 500)
    world.put(command(), 12, minutes=1)
    world.broker.publish("audit", b"{}", key=b"junk")
    found = await list_audit(world.read, "audit", Span(), limit=10)
    [line] = found.lines
    assert (line.at, line.person, line.done, line.outcome) == (
        NOON, "ada", {"replayed": 512}, "done"
    )  # fmt: skip
    assert (found.matching, found.unreadable) == (1, 1)


@virtual_time
async def test_what_has_no_end_is_shown_as_begun() -> None:
    world = World()
    forgetting = command("forget", "forgotten")
    world.put(forgetting, 2)
    world.put(forgetting, 40, did="answers", outcome=AuditOutcome.BEGUN)
    [line] = (await list_audit(world.read, "audit", Span(), limit=10)).lines
    assert (line.done, line.outcome) == ({"forgotten": 2}, "begun")
    world.put(forgetting, 40, did="answers")
    [line] = (await list_audit(world.read, "audit", Span(), limit=10)).lines
    assert (line.done, line.outcome) == ({"forgotten": 2, "answers": 40}, "done")


@virtual_time
async def test_the_newest_of_a_span_are_listed() -> None:
    world = World()
    for minutes in (3, 1, 2, 0):
        person = AuditedCommand("audit", f"p-{minutes}", "review resolve", "resolved")
        world.put(person, 1, minutes=minutes)
    found = await list_audit(world.read, "audit", Span(until=NOON + timedelta(minutes=3)), limit=2)
    assert [line.person for line in found.lines] == ["p-1", "p-2"]
    assert found.matching == 3
    assert "1 older ones not shown" in found.summary()
