import asyncio
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.claude.calls import InFlightCall
from pipeline.claude.response_cache import SingleFlight
from pipeline.model.errors import Refused
from pipeline.model.records import Usage
from pipeline.testing import run_in_virtual_time


class Calls:
    """A call that ends when the test lets it."""

    def __init__(self) -> None:
        self.started = 0
        self.cancelled = 0
        self.may_end = asyncio.Event()
        self.sends = False

    async def __call__(self, in_flight: InFlightCall) -> str:
        self.started += 1
        in_flight.sending = self.sends
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        in_flight.sending = False
        return "answer"


async def ask(flights: SingleFlight[str], call: Calls, key: bytes = b"a") -> tuple[str, bool]:
    task, shared = await flights.join(key, call)
    return task.result(), shared


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_identical_questions_share_one_call() -> None:
    flights, call = SingleFlight[str](), Calls()
    asked = [asyncio.create_task(ask(flights, call)) for _ in range(5)]
    other = asyncio.create_task(ask(flights, call, b"b"))
    await settle()
    call.may_end.set()
    assert [await one for one in asked] == [("answer", False)] + [("answer", True)] * 4
    assert await other == ("answer", False)
    assert call.started == 2
    assert len(flights) == 0


async def test_the_others_get_the_answer_when_the_first_asker_goes() -> None:
    flights, call = SingleFlight[str](), Calls()
    first, second = (asyncio.create_task(ask(flights, call)) for _ in range(2))
    await settle()
    first.cancel()
    await settle()
    call.may_end.set()
    assert await second == ("answer", True)
    assert first.cancelled()
    assert (call.started, call.cancelled) == (1, 0)


async def test_a_call_that_nobody_wants_any_more_is_cancelled() -> None:
    flights, call = SingleFlight[str](), Calls()
    asked = [asyncio.create_task(ask(flights, call)) for _ in range(2)]
    await settle()
    for one in asked:
        one.cancel()
    await settle()
    assert call.cancelled == 1
    assert len(flights) == 0


async def test_a_call_that_is_on_its_way_is_waited_for_because_it_is_paid() -> None:
    flights, call = SingleFlight[str](), Calls()
    call.sends = True
    first = asyncio.create_task(ask(flights, call))
    await settle()
    first.cancel()
    await settle()
    late = asyncio.create_task(ask(flights, call))
    await settle()
    call.may_end.set()
    assert await late == ("answer", True)
    assert (call.started, call.cancelled) == (1, 0)


async def test_a_call_that_was_given_up_is_not_joined() -> None:
    flights, call = SingleFlight[str](), Calls()
    first = asyncio.create_task(ask(flights, call))
    await settle()
    first.cancel()
    await asyncio.wait([first])
    call.may_end.set()
    assert await ask(flights, call) == ("answer", False)
    assert call.started == 2


async def test_a_call_that_ended_because_nobody_waited_is_not_joined() -> None:
    flights, call = SingleFlight[str](), Calls()
    fails, joined = asyncio.Event(), list[asyncio.Task[tuple[str, bool]]]()

    async def is_sent_and_fails(in_flight: InFlightCall) -> str:
        in_flight.sending = True
        await fails.wait()
        # An equal question comes just before anybody can see that this one is over.
        joined.append(asyncio.create_task(ask(flights, call)))
        in_flight.sending = False
        raise asyncio.CancelledError("no caller waits for this answer any more")

    first = asyncio.create_task(flights.join(b"a", is_sent_and_fails))
    await settle()
    first.cancel()
    await settle()
    fails.set()
    await settle()
    call.may_end.set()
    assert await joined[0] == ("answer", False)
    assert len(flights) == 0


async def test_errors_reach_everyone_and_the_next_asks_again() -> None:
    flights = SingleFlight[str]()
    refused = Refused("no", usage=Usage(), model="m", seconds=1.0)
    go = asyncio.Event()

    async def fail(in_flight: InFlightCall) -> str:
        await go.wait()
        raise refused

    tasks = [asyncio.create_task(flights.join(b"a", fail)) for _ in range(2)]
    await settle()
    go.set()
    for task in tasks:
        completed, _ = await task
        with pytest.raises(Refused):
            completed.result()
    assert len(flights) == 0


async def test_closing_cancels_what_is_under_way_and_waits_for_it() -> None:
    flights, call = SingleFlight[str](), Calls()
    asked = asyncio.create_task(ask(flights, call))
    await settle()
    await flights.close()
    assert call.cancelled == 1
    with pytest.raises(asyncio.CancelledError):
        await asked


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b"]), st.floats(0, 5), st.none() | st.floats(0, 5)),
        max_size=15,
    )
)
def test_every_waiter_gets_an_answer_and_no_key_is_ever_called_twice_at_once(
    askers: list[tuple[str, float, float | None]],
) -> None:
    """Each asks for a key at some time, and gives up after some time or never."""
    under_way: list[bytes] = []

    async def call(key: bytes, in_in_flight: InFlightCall) -> str:
        assert key not in under_way
        under_way.append(key)
        try:
            await asyncio.sleep(2)
        finally:
            under_way.remove(key)
        return key.decode()

    async def one(flights: SingleFlight[str], key: str, at: float, patience: float | None) -> None:
        await asyncio.sleep(at)
        try:
            async with asyncio.timeout(patience):
                task, _ = await flights.join(key.encode(), partial(call, key.encode()))
                assert task.result() == key
        except TimeoutError:
            assert patience is not None
            assert patience <= 2

    async def main() -> None:
        flights = SingleFlight[str]()
        await asyncio.gather(*(one(flights, *asker) for asker in askers))
        await asyncio.sleep(0)
        assert len(flights) == 0
        assert under_way == []

    run_in_virtual_time(main())
