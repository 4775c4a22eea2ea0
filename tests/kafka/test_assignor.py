"""The assignor in the group protocol's own terms, beside members of an earlier release."""

from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.coordinator.assignors.sticky.sticky_assignor import (
    StickyAssignorUserDataV1,
    StickyPartitionAssignor,
)
from aiokafka.coordinator.protocol import (
    ConsumerProtocolMemberAssignment,
    ConsumerProtocolMemberMetadata,
)

from pipeline.kafka.assignor import Assignor
from pipeline.stream.protocols import TopicPartition

CLUSTER: Any = SimpleNamespace(
    partitions_for_topic=lambda topic: {0, 1, 2, 3} if topic == "in" else None,
    topics=lambda: {"in"},
)


class Member:
    """Knows what it serves; with an assignor, as a consumer has one."""

    def __init__(self, asks: str = "the same") -> None:
        self.serves: set[TopicPartition] = set()
        self.leaving: set[TopicPartition] = set()
        self.generation = -1
        self.lost = 0
        self.assignor = Assignor(self, lambda: self.generation, asks=asks)

    def owned(self) -> set[TopicPartition]:
        return self.serves

    def releasing(self) -> set[TopicPartition]:
        return self.leaving

    async def on_rebalance(self) -> None:
        raise NotImplementedError

    def on_lost(self) -> None:
        self.lost += 1

    async def on_assigned(self, partitions: Any, releasing: Any) -> None:  # noqa: ANN401
        raise NotImplementedError

    def join(self) -> ConsumerProtocolMemberMetadata:
        return sent(self.assignor.metadata({"in"}), ConsumerProtocolMemberMetadata)

    def take(self, assignment: ConsumerProtocolMemberAssignment, generation: int) -> None:
        self.generation = generation
        received = sent(assignment, ConsumerProtocolMemberAssignment)
        self.assignor.on_assignment(received)
        self.serves = {TopicPartition(*each) for each in received.partitions()}
        self.leaving = set(self.assignor.releasing)

    def finish(self) -> None:
        """It has drained what it was asked to release."""
        self.serves -= self.leaving
        self.leaving = set()

    @property
    def numbers(self) -> set[int]:
        return {each.partition for each in self.serves - self.leaving}


def sent(struct: Any, kind: Any) -> Any:  # noqa: ANN401 - aiokafka has no types
    """What arrives of it."""
    return kind.decode(struct.encode())


GENERATIONS = count(1)
"""Of the one group; brokers only count up, also while it has no members."""


def rebalance(leader: Any, **members: Member) -> None:  # noqa: ANN401 - ours or aiokafka's
    joining = {name: member.join() for name, member in members.items()}
    generation = next(GENERATIONS)
    for name, assignment in leader.assign(CLUSTER, joining).items():
        members[name].take(assignment, generation)


def test_a_second_member_gets_its_half_once_the_first_has_released_it() -> None:
    one, two = Member(), Member()
    rebalance(one.assignor, one=one)
    assert one.numbers == {0, 1, 2, 3}
    rebalance(one.assignor, one=one, two=two)
    assert (one.numbers, two.numbers) == ({2, 3}, set())
    assert len(one.serves) == 4
    one.finish()
    rebalance(two.assignor, one=one, two=two)
    assert (one.numbers, two.numbers) == ({2, 3}, {0, 1})


def test_a_member_that_missed_a_rebalance_does_not_get_back_what_others_have_now() -> None:
    frozen, other = Member(), Member()
    for _ in range(5):
        rebalance(frozen.assignor, frozen=frozen)
    # It was taken for dead, and the other one has just started.
    rebalance(other.assignor, other=other)
    frozen.generation = -1
    rebalance(other.assignor, frozen=frozen, other=other)
    assert (frozen.numbers, other.numbers) == (set(), {2, 3})
    other.finish()
    rebalance(other.assignor, frozen=frozen, other=other)
    assert (frozen.numbers, other.numbers) == ({0, 1}, {2, 3})


def test_a_member_that_the_group_took_for_dead_learns_of_it_before_it_joins() -> None:
    one = Member()
    rebalance(one.assignor, one=one)
    lost = one.lost
    one.join()
    assert one.lost == lost
    one.generation = -1
    one.join()
    assert one.lost == lost + 1


@pytest.mark.parametrize("tail", [b"", b"{", b"{}", b'{"releasing": {}, "more": 1}'])
def test_what_another_release_says_beside_it_is_read_as_far_as_it_is_known(tail: bytes) -> None:
    one = Member()
    owned = StickyAssignorUserDataV1([("in", [0, 1])], 7).encode()
    other = ConsumerProtocolMemberMetadata(0, ["in"], owned + b"\nhp1 " + tail)
    shares = one.assignor.assign(CLUSTER, {"other": other, "one": one.join()})
    assert [each.partition for each in shares["other"].partitions()] == [0, 1]
    user_data = b"\nhp1 " + tail
    one.assignor.on_assignment(ConsumerProtocolMemberAssignment(0, [], user_data))
    assert one.assignor.releasing == frozenset()


def test_members_see_that_another_one_asks_differently() -> None:
    one, two, other = Member(), Member(), Member("something else")
    rebalance(one.assignor, one=one, two=two)
    assert one.assignor.asked == two.assignor.asked == {"the same"}
    rebalance(one.assignor, one=one, two=two, other=other)
    assert two.assignor.asked == other.assignor.asked == {"the same", "something else"}


def test_a_leader_of_the_release_before_reads_what_this_one_claims() -> None:
    one, two = Member(), Member()
    rebalance(one.assignor, one=one, two=two)
    before = set(one.serves)
    earlier = type("Earlier", (StickyPartitionAssignor,), {})
    rebalance(earlier, one=one, two=two)
    assert one.serves == before
    assert one.numbers | two.numbers == {0, 1, 2, 3}


def test_what_a_member_of_the_release_before_had_goes_to_another_at_once() -> None:
    one = Member()
    user_data = StickyAssignorUserDataV1([("in", [0, 1, 2, 3])], 7).encode()
    earlier = ConsumerProtocolMemberMetadata(0, ["in"], user_data)
    shares = one.assignor.assign(CLUSTER, {"earlier": earlier, "one": one.join()})
    assert len(shares["earlier"].partitions()) == len(shares["one"].partitions()) == 2


@pytest.mark.parametrize("user_data", [b"", b"\x00", b"of another program", None])
def test_a_member_of_another_program_claims_nothing(user_data: bytes | None) -> None:
    one = Member()
    rebalance(one.assignor, one=one)
    foreign = ConsumerProtocolMemberMetadata(0, ["in"], user_data)
    shares = one.assignor.assign(CLUSTER, {"foreign": foreign, "one": one.join()})
    assert len(shares["one"].partitions()) == 4
    assert shares["foreign"].partitions() == []
