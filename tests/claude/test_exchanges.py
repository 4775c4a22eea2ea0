"""No answer goes to another request, whatever a server does with its connections."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider

from pipeline.claude.client import SdkClient
from pipeline.claude.connections import MessageIds
from tests.claude.misbehaving import MISBEHAVIOURS, PLAIN, ask_all, misbehaving

AT_ONCE = 16
COUNT = 300


@pytest.mark.parametrize("kind", MISBEHAVIOURS)
async def test_no_answer_goes_to_another_request(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        misbehaving(kind, set_env=monkeypatch.setenv) as api,
        SdkClient(connections=AT_ONCE) as client,
    ):
        found = await ask_all(client, COUNT, at_once=AT_ONCE)
    assert found["wrong"] == 0
    assert found["right"] == COUNT
    assert api.misbehaved


async def test_a_server_in_order_keeps_its_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        misbehaving(PLAIN, set_env=monkeypatch.setenv) as api,
        SdkClient(connections=AT_ONCE) as client,
    ):
        found = await ask_all(client, COUNT, at_once=AT_ONCE)
    assert found == {"right": COUNT}
    # Those that come before the first is answered go out by the SDK, the others by its frame.
    assert api.connections <= 2 * AT_ONCE


async def test_a_server_that_gives_all_answers_the_same_id_is_still_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        misbehaving(PLAIN, set_env=monkeypatch.setenv, has_ids=False),
        SdkClient(connections=1) as client,
    ):
        found = await ask_all(client, 50, at_once=1)
    assert found["right"] == 50
    assert found["asked_again"] <= 4
    assert "gives the id msg_1 to all answers" in caplog.text


async def test_the_sdks_own_connections_are_watched_as_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # With spans every request is the SDK's.
    traces = TracerProvider()
    async with (
        misbehaving("twice_when_asked_again", set_env=monkeypatch.setenv) as api,
        SdkClient(connections=AT_ONCE, traces=traces) as client,
    ):
        found = await ask_all(client, COUNT // 3, at_once=AT_ONCE)
    assert found["wrong"] == 0
    assert found["right"] == COUNT // 3
    assert api.misbehaved


def test_an_id_that_was_received_is_another_requests() -> None:
    ids = MessageIds()
    assert ids.owner("msg_1", b"one", first=True) == "new"
    assert ids.owner("msg_2", b"other", first=False) == "new"
    assert ids.owner("msg_1", b"other", first=False) == "another_request"


def test_an_equal_request_may_be_answered_from_a_cache_on_the_way() -> None:
    ids = MessageIds()
    assert ids.owner("msg_1", b"one", first=True) == "new"
    assert ids.owner("msg_1", b"one", first=True) == "same_request"


def test_an_id_is_never_taken_for_anothers_as_long_as_there_are_others() -> None:
    ids = MessageIds()
    ids.owner("msg_1", b"one", first=True)
    ids.owner("msg_2", b"other", first=True)
    assert {ids.owner("msg_1", b"more", first=True) for _ in range(20)} == {"another_request"}


@given(st.lists(st.integers(0, 60), max_size=300))
def test_the_latest_ids_are_remembered_and_no_more(seen: list[int]) -> None:
    ids = MessageIds(remembered=20)
    kept: list[int] = []
    for number in seen:
        owner = ids.owner(f"msg_{number}", b"%d" % number, first=False)
        if number in kept[-20:]:
            assert owner == "same_request"
        if owner == "new":
            kept.append(number)
        assert len(ids) <= 20
