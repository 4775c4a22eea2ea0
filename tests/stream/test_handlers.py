"""Handler calls: slots shared fairly, and answers that outlive the worker that asked."""

import asyncio
from datetime import UTC, datetime
from math import inf

from pipeline.stream.handlers import Answers, ConcurrencyLimiter
from pipeline.stream.records import Disposition, Handler, Outcome, Received
from pipeline.stream.tenants import Ready, Turns
from pipeline.stream.workload import Held

NOTHING = Outcome(Disposition.ENRICHED, ())
NOW = datetime.now(UTC)


def made(handler: Handler, slots: ConcurrencyLimiter, ended: list[object] | None = None) -> Answers:
    ended = [] if ended is None else ended
    return Answers(
        handler, slots, completed=lambda outcome, _: ended.append(outcome), fail=ended.append
    )


def record(offset: int, key: bytes | None = None) -> Received:
    return Received("in", 0, offset, key, b"", (), NOW, NOW)


class Queue:
    """Starts numbered items, and notes in a log that it did."""

    def __init__(self, name: str, items: int, slots: ConcurrencyLimiter, log: list[str]) -> None:
        self.name = name
        self.items = items
        self.slots = slots
        self.log = log

    def start_next(self) -> bool:
        if not self.items:
            return False
        self.items -= 1
        self.slots.busy += 1
        self.log.append(self.name)
        return True


def release(slots: ConcurrencyLimiter) -> None:
    """A call ended."""
    slots.busy -= 1
    slots.fill()


def test_slots_are_given_in_turn() -> None:
    useful, log = [0], list[str]()
    slots = ConcurrencyLimiter(5, lambda: useful[0])
    for name, items in (("a", 10), ("b", 1), ("c", 10)):
        slots.fill(Queue(name, items, slots, log).start_next)
    assert log == []
    useful[0] = 9
    slots.fill()
    assert log == ["a", "b", "c", "a", "c"]
    assert slots.waiting


def test_a_released_slot_goes_to_whose_turn_it_is() -> None:
    useful, log = [0], list[str]()
    slots = ConcurrencyLimiter(1, lambda: useful[0])
    for name in ("a", "b"):
        slots.fill(Queue(name, 2, slots, log).start_next)
    useful[0] = 9
    slots.fill()
    for _ in range(3):
        release(slots)
    assert log == ["a", "b", "a", "b"]
    release(slots)
    assert not slots.waiting


def test_no_more_are_started_than_are_of_use_at_present() -> None:
    useful, log = [2], list[str]()
    slots = ConcurrencyLimiter(4, lambda: useful[0])
    slots.fill(Queue("a", 9, slots, log).start_next)
    assert len(log) == 2
    useful[0] = 9
    release(slots)
    assert len(log) == 5
    useful[0] = 1
    release(slots)
    assert len(log) == 5


def test_offering_twice_gives_one_turn() -> None:
    useful, log = [0], list[str]()
    slots = ConcurrencyLimiter(2, lambda: useful[0])
    a, b = Queue("a", 5, slots, log), Queue("b", 5, slots, log)
    slots.fill(a.start_next)
    slots.fill(a.start_next)
    slots.fill(b.start_next)
    useful[0] = 9
    slots.fill()
    assert log == ["a", "b"]


def test_a_tenant_that_is_behind_goes_first_in_whichever_partition_it_waits() -> None:
    turns, slots, log = Turns(), ConcurrencyLimiter(1), list[bytes]()
    slots.busy = 1
    readies = [Ready(turns) for _ in range(8)]

    def offer(ready: Ready, *names: str) -> None:
        for name in names:
            ready.append(None, Held(record(0, key=name.encode()), 0.0, 1, name))

        def start_next() -> bool:
            if ready.turn == inf:
                return False
            log.append(ready.popleft()[1].record.key or b"")
            slots.busy += 1
            return True

        slots.fill(start_next, lambda: ready.turn)

    for ready in readies:
        offer(ready, "loud", "loud")
    release(slots)
    offer(readies[7], "quiet")
    for _ in range(3):
        release(slots)
    assert log == [b"loud", b"quiet", b"loud", b"loud"]


class Calls:
    """A handler that waits to be released."""

    def __init__(self) -> None:
        self.made: list[int] = []
        self.release = asyncio.Event()

    async def __call__(self, received: Received) -> Outcome:
        self.made.append(received.offset)
        await self.release.wait()
        return NOTHING


async def test_a_record_is_asked_once_however_often_it_comes_in() -> None:
    calls, received = Calls(), list[str]()
    answers = made(calls, ConcurrencyLimiter(9))
    answers.ask(record(1), 0.0, lambda _: received.append("first"))
    await asyncio.sleep(0)
    answers.ask(record(1), 0.0, lambda _: received.append("second"))
    calls.release.set()
    await asyncio.sleep(0.01)
    answers.ask(record(1), 0.0, lambda _: received.append("third"))
    await asyncio.sleep(0)
    assert calls.made == [1]
    assert received == ["first", "second", "third"]
    await answers.close()


async def test_the_end_of_a_call_is_reported_once_however_many_listen() -> None:
    calls, ended = Calls(), list[object]()
    answers = made(calls, ConcurrencyLimiter(9), ended)
    answers.ask(record(1), 0.0, lambda _: None)
    answers.ask(record(1), 0.0, lambda _: None)
    calls.release.set()
    await asyncio.sleep(0.01)
    answers.ask(record(1), 0.0, lambda _: None)
    await asyncio.sleep(0.01)
    assert ended == [NOTHING]
    await answers.close()


async def test_what_a_handler_raises_is_reported() -> None:
    async def broken(_: Received) -> Outcome:
        raise KeyError("field")

    ended = list[object]()
    answers = made(broken, ConcurrencyLimiter(9), ended)
    answers.ask(record(1), 0.0, lambda _: None)
    await asyncio.sleep(0.01)
    assert [type(error) for error in ended] == [KeyError]
    await answers.close()


async def test_a_handler_that_is_cancelled_from_elsewhere_is_a_bug() -> None:
    async def cancelled(_: Received) -> Outcome:
        raise asyncio.CancelledError

    ended = list[object]()
    answers = made(cancelled, ConcurrencyLimiter(9), ended)
    answers.ask(record(1), 0.0, lambda _: None)
    await asyncio.sleep(0.01)
    assert [type(error) for error in ended] == [RuntimeError]
    await answers.close()


async def test_what_was_replaced_is_the_answer_from_then_on() -> None:
    calls, received = Calls(), list[Outcome]()
    calls.release.set()
    answers = made(calls, ConcurrencyLimiter(9))
    answers.ask(record(1), 0.0, lambda _: None)
    await asyncio.sleep(0.01)
    other = Outcome(Disposition.DEAD_LETTER, ())
    answers.replace(1, other)
    answers.ask(record(1), 0.0, lambda call: received.append(call.result()))
    await asyncio.sleep(0.01)
    assert received == [other]
    assert calls.made == [1]
    await answers.close()


async def test_what_was_forgotten_is_asked_again() -> None:
    calls = Calls()
    calls.release.set()
    answers = made(calls, ConcurrencyLimiter(9))
    answers.ask(record(1), 0.0, lambda _: None)
    await asyncio.sleep(0.01)
    answers.forget(1)
    answers.ask(record(1), 0.0, lambda _: None)
    await asyncio.sleep(0.01)
    assert calls.made == [1, 1]
    await answers.close()


async def test_only_what_is_wanted_is_retained_and_the_rest_is_cancelled() -> None:
    calls, ended = Calls(), list[int]()
    answers = made(calls, ConcurrencyLimiter(9))
    for offset in range(4):
        answers.ask(
            record(offset),
            0.0,
            lambda call, offset=offset: ended.append(offset) if call.cancelled() else None,  # type: ignore[misc]
        )
    await asyncio.sleep(0)
    answers.retain(lambda offset: offset % 2 == 0)
    await asyncio.sleep(0.01)
    assert ended == [1, 3]
    calls.release.set()
    await answers.close()


async def test_closing_waits_for_the_calls_to_end() -> None:
    has_ended = False

    async def reluctant(_: Received) -> Outcome:
        nonlocal has_ended
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            has_ended = True
        return NOTHING

    answers = made(reluctant, ConcurrencyLimiter(1))
    answers.ask(record(1), 0.0, lambda _: None)
    await asyncio.sleep(0)
    await answers.close()
    assert has_ended


async def test_a_call_keeps_its_slot_until_it_has_ended() -> None:
    slots, log = ConcurrencyLimiter(1), list[str]()
    calls = Calls()
    answers = made(calls, slots)
    answers.ask(record(1), 0.0, lambda _: None)
    slots.fill(Queue("next", 1, slots, log).start_next)
    await asyncio.sleep(0)
    assert log == []
    answers.forget(1)
    await asyncio.sleep(0.01)
    assert log == ["next"]
    await answers.close()
