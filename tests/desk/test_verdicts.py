"""Verdicts from the moment in which they are given until they are published."""

import asyncio

import pytest

from pipeline.desk.access import Person, Role
from pipeline.desk.claims import Claimed, Claims
from pipeline.desk.verdicts import AlreadyGiven, Rejection, State, TooLate, Verdicts
from pipeline.model.errors import PipelineError
from pipeline.model.records import Tier
from pipeline.operators.review import AlreadyResolved, Verdict
from pipeline.operators.selection import Place
from tests.stream.virtual import virtual_time

ADA, GRACE = Person("ada", Role.REVIEWER), Person("grace", Role.REVIEWER)
FIRST, SECOND = Place(0, 1), Place(0, 2)
HAIKU = Verdict(Tier.HAIKU)


class World:
    """Takes what is published, or fails as a test says."""

    def __init__(self) -> None:
        self.published: list[Place] = []
        self.settled: list[Place] = []
        self.error: PipelineError | None = None
        self.may_publish = asyncio.Event()
        self.may_publish.set()
        self.verdicts = Verdicts(
            self.publish, asyncio.get_running_loop().time, settled=self.settled.append
        )

    async def publish(self, place: Place, by: Person, verdict: Verdict | Rejection) -> str:
        await self.may_publish.wait()
        if self.error is not None:
            raise self.error
        self.published.append(place)
        return "tickets.enriched"

    def state(self, of: Person = ADA) -> State:
        return self.verdicts.of(of)[0].state


def never() -> None:
    raise AssertionError("it ended")


@virtual_time
async def test_a_verdict_is_published_after_the_time_in_which_it_can_be_undone() -> None:
    world = World()
    async with world.verdicts.running(ended=never):
        world.verdicts.give(FIRST, "T-1", ADA, HAIKU)
        await asyncio.sleep(4.9)
        assert (world.state(), world.published) == (State.WAITING, [])
        await asyncio.sleep(0.2)
        assert (world.state(), world.published, world.settled) == ("published", [FIRST], [FIRST])
        assert world.verdicts.places() == set()


@virtual_time
async def test_what_is_undone_is_not_published_and_can_be_decided_again() -> None:
    world = World()
    async with world.verdicts.running(ended=never):
        given = world.verdicts.give(FIRST, "T-1", ADA, HAIKU)
        with pytest.raises(AlreadyGiven):
            world.verdicts.give(FIRST, "T-1", GRACE, HAIKU)
        with pytest.raises(TooLate):
            world.verdicts.undo(given.number, GRACE)
        world.verdicts.undo(given.number, ADA)
        await asyncio.sleep(10)
        assert (world.state(), world.published) == (State.UNDONE, [])
        world.verdicts.give(FIRST, "T-1", GRACE, HAIKU)
        await asyncio.sleep(10)
    assert world.published == [FIRST]


@virtual_time
async def test_what_is_being_published_cannot_be_undone() -> None:
    world = World()
    world.may_publish.clear()
    async with world.verdicts.running(ended=never):
        given = world.verdicts.give(FIRST, "T-1", ADA, HAIKU)
        await asyncio.sleep(6)
        assert world.state() is State.PUBLISHING
        with pytest.raises(TooLate):
            world.verdicts.undo(given.number, ADA)
        world.may_publish.set()
        await asyncio.sleep(1)
        assert world.state() is State.PUBLISHED


@virtual_time
async def test_the_verdict_of_somebody_else_is_said_and_settles_the_case() -> None:
    world = World()
    world.error = AlreadyResolved("It was resolved before.")
    async with world.verdicts.running(ended=never):
        world.verdicts.give(FIRST, "T-1", ADA, HAIKU)
        await asyncio.sleep(6)
        [given] = world.verdicts.of(ADA)
        assert (given.state, given.message) == (State.ELSEWHERE, "It was resolved before.")
        assert world.settled == [FIRST]


@virtual_time
async def test_a_failure_is_said_and_leaves_the_case_open_and_the_others_go_on() -> None:
    world = World()
    world.error = PipelineError("The brokers are away.")
    async with world.verdicts.running(ended=never):
        world.verdicts.give(FIRST, "T-1", ADA, HAIKU)
        await asyncio.sleep(6)
        assert (world.state(), world.settled) == (State.FAILED, [])
        world.error = None
        world.verdicts.give(FIRST, "T-1", ADA, HAIKU)
        world.verdicts.give(SECOND, "T-2", GRACE, Rejection("Not an event."))
        await asyncio.sleep(6)
    assert world.published == [FIRST, SECOND]


@virtual_time
async def test_at_a_stop_what_waits_is_published_at_once() -> None:
    world, began = World(), asyncio.get_running_loop().time()
    async with world.verdicts.running(ended=never):
        world.verdicts.give(FIRST, "T-1", ADA, HAIKU)
        world.verdicts.give(SECOND, "T-2", ADA, HAIKU)
    assert world.published == [FIRST, SECOND]
    assert asyncio.get_running_loop().time() - began < 1


@virtual_time
async def test_verdicts_that_ended_are_forgotten_after_some_hundreds() -> None:
    world = World()
    async with world.verdicts.running(ended=never):
        for number in range(300):
            world.verdicts.give(Place(1, number), "T", ADA, HAIKU)
        await asyncio.sleep(6)
        assert len(world.published) == 300
        assert len(world.verdicts.of(ADA)) == 200


def test_two_people_do_not_work_on_one_case_and_a_claim_ends_by_itself() -> None:
    now = [0.0]
    claims = Claims(lambda: now[0], seconds=180)
    claims.take(FIRST, "ada")
    with pytest.raises(Claimed, match="ada works on this case"):
        claims.take(FIRST, "grace")
    claims.release(FIRST, "grace")
    assert claims.owners() == {FIRST: "ada"}
    now[0] = 100
    claims.take(FIRST, "ada")
    now[0] = 279
    assert claims.owner(FIRST) == "ada"
    now[0] = 280
    claims.take(FIRST, "grace")
    claims.release(FIRST, "grace")
    assert claims.owners() == {}
