"""The assignor in the group protocol's own terms, beside members of an earlier release."""

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
        self.serves: dict[TopicPartition, bool] = {}
        self.is_known = True
        self.lost = 0
        self.assignor = Assignor(self, lambda: self.is_known, asks=asks)

    def owned(self) -> dict[TopicPartition, bool]:
        return self.serves

    async def on_rebalance(self) -> None:
        raise NotImplementedError

    def on_lost(self) -> None:
        self.lost += 1

    async def on_assigned(self, partitions: Any, releasing: Any) -> None:  # noqa: ANN401
        raise NotImplementedError

    def join(self) -> ConsumerProtocolMemberMetadata:
        return sent(self.assignor.metadata({"in"}), ConsumerProtocolMemberMetadata)

    def take(self, assignment: ConsumerProtocolMemberAssignment) -> None:
        received = sent(assignment, ConsumerProtocolMemberAssignment)
        self.assignor.on_assignment(received)
        self.serves = {
            TopicPartition(*each): TopicPartition(*each) in self.assignor.releasing
            for each in received.partitions()
        }

    def finish(self) -> None:
        """It has drained what it was asked to release."""
        self.serves = {each: False for each, is_leaving in self.serves.items() if not is_leaving}

    @property
    def numbers(self) -> set[int]:
        return {each.partition for each, is_leaving in self.serves.items() if not is_leaving}


def sent(struct: Any, kind: Any) -> Any:  # noqa: ANN401 - aiokafka has no types
    """What arrives of it."""
    return kind.decode(struct.encode())


def rebalance(leader: Any, **members: Member) -> None:  # noqa: ANN401 - ours or aiokafka's
    joining = {name: member.join() for name, member in members.items()}
    for name, assignment in leader.assign(CLUSTER, joining).items():
        members[name].take(assignment)


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
    one, two = Member(), Member()
    rebalance(one.assignor, one=one)
    rebalance(two.assignor, two=two)
    rebalance(two.assignor, two=two)
    rebalance(two.assignor, one=one, two=two)
    assert (one.numbers, two.numbers) == (set(), {2, 3})
    two.finish()
    rebalance(two.assignor, one=one, two=two)
    assert (one.numbers, two.numbers) == ({0, 1}, {2, 3})


def test_a_member_that_the_group_took_for_dead_learns_of_it_before_it_joins() -> None:
    one = Member()
    one.join()
    assert one.lost == 0
    one.is_known = False
    one.join()
    assert one.lost == 1


def test_members_see_that_another_one_asks_differently() -> None:
    one, two, other = Member(), Member(), Member("something else")
    rebalance(one.assignor, one=one, two=two)
    assert one.assignor.asked == two.assignor.asked == {"the same"}
    rebalance(one.assignor, one=one, two=two, other=other)
    assert two.assignor.asked == other.assignor.asked == {"the same", "something else"}


def test_a_leader_of_the_release_before_reads_what_this_one_claims() -> None:
    one, two = Member(), Member()
    rebalance(one.assignor, one=one, two=two)
    before = dict(one.serves)
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
