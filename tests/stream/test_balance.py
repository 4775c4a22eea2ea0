"""Who gets which partition: each goes to one member, evenly, and as few as possible move."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from pipeline.stream.balance import Claim, Share, balance
from pipeline.stream.protocols import TopicPartition

TOPICS = ("a", "b")


def partitions_of(**counts: int) -> list[TopicPartition]:
    return [TopicPartition(topic, number) for topic, n in counts.items() for number in range(n)]


A6 = partitions_of(a=6)


def reads(*topics: str, owned: list[TopicPartition] | None = None, epoch: int = 1) -> Claim:
    return Claim(frozenset(topics or ("a",)), owned=frozenset(owned or ()), epoch=epoch)


def released(claims: dict[str, Claim], shares: dict[str, Share]) -> dict[str, Claim]:
    """What the members claim once each has finished what it had to release."""
    return {
        name: replace(
            claims[name],
            owned=frozenset(share.partitions) - share.releasing,
            epoch=1 + max(claim.epoch for claim in claims.values()),
        )
        for name, share in shares.items()
    }


def test_a_first_member_gets_everything_and_nothing_is_released() -> None:
    assert balance(A6, {"one": reads(epoch=-1)}) == {"one": Share(A6)}


def test_a_partition_that_is_to_move_stays_until_its_owner_has_released_it() -> None:
    claims = {"one": reads(owned=A6), "two": reads(epoch=-1)}
    shares = balance(A6, claims)
    assert shares["two"] == Share()
    assert sorted(shares["one"].partitions) == A6
    assert shares["one"].releasing == set(A6[:3])

    after = balance(A6, released(claims, shares))
    assert sorted(after["one"].partitions) == A6[3:]
    assert sorted(after["two"].partitions) == A6[:3]
    assert not after["one"].releasing | after["two"].releasing


def test_what_a_dead_member_had_goes_to_the_others_at_once() -> None:
    shares = balance(A6, {"one": reads(owned=A6[:3])})
    assert sorted(shares["one"].partitions) == A6


def test_a_member_that_was_taken_for_dead_loses_to_the_one_that_was_assigned_later() -> None:
    claims = {"frozen": reads(owned=A6, epoch=1), "other": reads(owned=A6[:3], epoch=2)}
    shares = balance(A6, claims)
    assert sorted(shares["other"].partitions) == A6[:3]
    assert sorted(shares["frozen"].partitions) == A6[3:]


def test_what_is_being_released_is_not_replaced_by_another_choice() -> None:
    claim = replace(reads(owned=A6), releasing=frozenset(A6[2:5]))
    shares = balance(A6, {"one": claim, "two": reads(epoch=-1)})
    assert shares["one"].releasing == set(A6[2:5])


def test_partitions_of_an_earlier_release_move_in_one_step() -> None:
    earlier = replace(reads(owned=A6), serves_on=False)
    shares = balance(A6, {"one": earlier, "two": reads(epoch=-1)})
    assert len(shares["two"].partitions) == 3
    assert not shares["one"].releasing


def test_a_topic_goes_only_to_members_that_read_it() -> None:
    shares = balance(
        partitions_of(a=2, b=4), {"one": reads("a", epoch=-1), "two": reads("b", epoch=-1)}
    )
    assert shares["one"].partitions == partitions_of(a=2)
    assert shares["two"].partitions == partitions_of(b=4)


def test_a_topic_that_nobody_reads_is_left_out() -> None:
    assert balance(partitions_of(b=1), {"one": reads("a")}) == {"one": Share()}


@st.composite
def groups(draw: st.DrawFn) -> tuple[list[TopicPartition], dict[str, Claim]]:
    everything = partitions_of(a=draw(st.integers(0, 12)), b=draw(st.integers(0, 12)))
    some = st.frozensets(st.sampled_from(everything)) if everything else st.just(frozenset())
    claim = st.builds(
        Claim,
        st.frozensets(st.sampled_from(TOPICS), min_size=1),
        owned=some,
        releasing=some,
        epoch=st.integers(-1, 3),
        serves_on=st.booleans(),
    )
    return everything, draw(st.dictionaries(st.sampled_from("mnopq"), claim, min_size=1))


@given(groups())
def test_each_partition_that_is_read_goes_to_one_of_its_readers(
    group: tuple[list[TopicPartition], dict[str, Claim]],
) -> None:
    everything, claims = group
    shares = balance(everything, claims)
    given_out = [partition for share in shares.values() for partition in share.partitions]
    read = {topic for claim in claims.values() for topic in claim.topics}
    assert sorted(given_out) == [partition for partition in everything if partition.topic in read]
    for name, share in shares.items():
        assert {partition.topic for partition in share.partitions} <= claims[name].topics
        assert share.releasing <= set(share.partitions)


@given(groups())
def test_once_all_is_released_the_second_assignment_is_even_and_stays(
    group: tuple[list[TopicPartition], dict[str, Claim]],
) -> None:
    everything, claims = group
    claims = {name: replace(claim, topics=frozenset(TOPICS)) for name, claim in claims.items()}
    after = released(claims, balance(everything, claims))
    shares = balance(everything, after)
    sizes = [len(share.partitions) for share in shares.values()]
    assert max(sizes) - min(sizes) <= 1
    assert not any(share.releasing for share in shares.values())
    again = balance(everything, released(after, shares))
    assert {name: set(share.partitions) for name, share in again.items()} == {
        name: set(share.partitions) for name, share in shares.items()
    }


@given(st.integers(1, 40), st.integers(1, 6))
def test_a_member_more_moves_no_more_than_its_share(partitions: int, members: int) -> None:
    everything = partitions_of(a=partitions)
    claims = {f"m{number}": reads(epoch=-1) for number in range(members)}
    claims = released(claims, balance(everything, claims))
    shares = balance(everything, {**claims, "new": reads(epoch=-1)})
    moved = sum(len(share.releasing) for share in shares.values())
    assert moved == partitions // (members + 1)
