"""Groups of labels: the same for the same labels, small enough, none left out."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import Label
from pipeline.stages.fields.asking import MOST_GROUPS, SMALLEST_LIMIT, groups_of

NAMES = st.lists(
    st.text("abcdefgh_", min_size=1, max_size=12),
    min_size=21,
    max_size=70,
    unique_by=str.casefold,
)
HARDWARE = [
    *(f"printer_{what}" for what in ("jam", "ink", "offline", "noise")),
    *(f"scanner_{what}" for what in ("blank", "crooked", "slow", "lamp")),
]
PAPERS = [f"{what}_{i}" for what in ("invoice", "contract") for i in range(8)]


def labels(*names: str) -> list[Label]:
    return [Label(name=name) for name in names]


def test_a_teams_own_groups_are_taken_as_they_are_in_the_order_they_appear() -> None:
    own = [
        Label(name="late", group="parcels"),
        Label(name="refund", group="money"),
        Label(name="lost", group="parcels"),
    ]

    found = groups_of(own)

    assert [(group.name, [label.name for label in group.labels]) for group in found] == [
        ("parcels", ["late", "lost"]),
        ("money", ["refund"]),
    ]


def test_labels_that_share_words_go_together_and_name_their_group() -> None:
    found = {
        group.name: {label.name for label in group.labels}
        for group in groups_of(labels(*HARDWARE, *PAPERS))
    }

    assert sorted(found) == ["contract", "invoice", "printer", "scanner"]
    assert found["printer"] == {name for name in HARDWARE if name.startswith("printer")}
    assert found["contract"] == {name for name in PAPERS if name.startswith("contract")}


def test_descriptions_and_examples_bring_labels_together_that_names_do_not() -> None:
    apart = [
        Label(name="alpha", description="A parcel was lost."),
        Label(name="beta", examples=["where is my parcel"]),
        Label(name="gamma", description="The invoice is wrong."),
        Label(name="delta", examples=["an invoice twice"]),
        *labels(*(f"filler_{i}" for i in range(20))),
    ]

    found = [{label.name for label in group.labels} for group in groups_of(apart)]

    assert any({"alpha", "beta"} <= group for group in found)
    assert any({"gamma", "delta"} <= group for group in found)


@settings(max_examples=15)
@given(NAMES, st.randoms(use_true_random=False))
def test_groups_do_not_depend_on_the_order_of_labels(names: list[str], random: object) -> None:
    shuffled = list(names)
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    def sets(given: list[str]) -> set[frozenset[str]]:
        return {frozenset(label.name for label in g.labels) for g in groups_of(labels(*given))}

    assert sets(names) == sets(shuffled)


@settings(max_examples=15)
@given(NAMES)
def test_every_label_is_in_one_group_and_groups_are_few_and_small(names: list[str]) -> None:
    found = groups_of(labels(*names))

    assert sorted(label.name for group in found for label in group.labels) == sorted(names)
    assert len(found) <= MOST_GROUPS
    assert max(len(group.labels) for group in found) <= SMALLEST_LIMIT
    assert len({group.name.casefold() for group in found}) == len(found)


@pytest.mark.parametrize("count", [100, 200])
def test_the_most_labels_there_may_be_make_no_more_than_twenty_groups_of_twenty(count: int) -> None:
    found = groups_of(labels(*(f"a{i}_b{i % 7}" for i in range(count))))

    assert len(found) <= MOST_GROUPS
    assert max(len(group.labels) for group in found) <= 20
