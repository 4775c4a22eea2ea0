"""How large a picture is sent, and where a very long one is cut."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.claude.model_facts import STANDARD_RESOLUTION
from pipeline.model.questions import HIGH_RESOLUTION, ImageLimits
from pipeline.stages.files.pictures import (
    MAX_TILES,
    Size,
    Tile,
    TooLong,
    tiles_of,
    visual_tokens,
)

sides = st.one_of(st.integers(1, 70_000), st.sampled_from([1, 7, 8, 9, 1568, 2576, 65_535]))
sizes = st.tuples(sides, sides)
edges = st.one_of(st.integers(1, HIGH_RESOLUTION.long_edge), st.just(1568))
limits = st.builds(ImageLimits, edges, st.sampled_from([1568, 4784]))
A4 = (2480, 3508)
"""A page at 300 dots an inch."""


def cut(size: Size, limits: ImageLimits) -> tuple[Tile, ...]:
    """The tiles, or none where there would be too many."""
    try:
        return tiles_of(size, limits)
    except TooLong:
        return ()


def along(tile: Tile, size: Size) -> tuple[int, int]:
    """Where a tile begins and ends, along the long side."""
    axis = 0 if size[0] > size[1] else 1
    return tile.box[axis], tile.box[axis + 2]


@given(sizes, limits)
def test_what_is_sent_is_within_the_limits_of_a_model(size: Size, limits: ImageLimits) -> None:
    for tile in cut(size, limits):
        assert max(tile.size) <= limits.long_edge
        assert min(tile.size) >= 1
        assert visual_tokens(tile.size) <= limits.tokens


@given(sizes, limits)
def test_tiles_are_few_and_cover_the_picture_in_order(size: Size, limits: ImageLimits) -> None:
    tiles = cut(size, limits)
    assert len(tiles) <= MAX_TILES
    for tile in tiles:
        begin, end = along(tile, size)
        assert begin < end
        assert {*tile.box} == {begin, end, 0, min(size)}
    if tiles:
        assert along(tiles[0], size)[0] == 0
        assert along(tiles[-1], size)[1] == max(size)
    for one, following in itertools.pairwise(tiles):
        begin, end = along(one, size)
        assert begin < along(following, size)[0] <= end


@given(sizes, st.integers(100, 2576))
def test_neighbours_share_more_than_a_line_of_print(size: Size, long_edge: int) -> None:
    tiles = cut(size, ImageLimits(long_edge, 4784))
    for one, following in itertools.pairwise(tiles):
        begin, end = along(one, size)
        assert end - along(following, size)[0] >= (end - begin) // 16


@given(sizes, limits)
def test_proportions_are_kept(size: Size, limits: ImageLimits) -> None:
    for tile in cut(size, limits):
        left, upper, right, lower = tile.box
        short, long = sorted((right - left, lower - upper))
        scale = max(tile.size) / long
        assert scale <= 1
        assert abs(scale * short - min(tile.size)) <= 1.01  # what rounding makes of both sides


@given(sizes, st.integers(800, 2576))
def test_nothing_is_shrunk_to_less_than_can_be_read(size: Size, long_edge: int) -> None:
    short = min(size)
    for tile in cut(size, ImageLimits(long_edge, 4784)):
        # As wide as the page of a letter, less what two fifths are, or as wide as it was.
        if short >= 8:
            assert min(tile.size) >= min(0.59 * short, 0.4 * long_edge) - 1


@pytest.mark.parametrize(
    ("size", "tiles", "of"),
    [
        ((2480, 3508), 1, (1109, 1568)),  # A4 at 300 dpi
        ((1170, 2532), 1, (725, 1568)),  # the screen of a telephone
        ((400, 1600), 1, (392, 1568)),  # a short receipt: hardly scaled at all
        ((600, 6000), 5, (600, 1304)),  # a long one
        ((6000, 600), 5, (1304, 600)),
        ((1280, 16_000), 10, (1108, 1502)),  # a page of the web
        ((12_000, 2000), 5, (1434, 1108)),  # a panorama
        ((5000, 3), 1, (1568, 1)),  # a line
    ],
)
def test_pages_are_sent_whole_and_rolls_in_parts(size: Size, tiles: int, of: Size) -> None:
    cut = tiles_of(size, ImageLimits(1568, 4784))
    assert len(cut) == tiles
    assert {tile.size for tile in cut} == {of}


def test_a_picture_that_takes_too_many_tiles_is_too_long() -> None:
    assert len(tiles_of((1000, 28_000), ImageLimits(1568, 4784))) == MAX_TILES
    with pytest.raises(TooLong) as caught:
        tiles_of((1000, 33_000), ImageLimits(1568, 4784))
    assert caught.value.tiles == 23


def test_a_square_is_scaled_to_the_tokens_of_a_model() -> None:
    (tile,) = tiles_of((7000, 7000), HIGH_RESOLUTION)
    assert tile.size == (1932, 1932)
    assert visual_tokens((1933, 1933)) > HIGH_RESOLUTION.tokens


def test_a_page_is_sent_as_large_as_the_model_sees_it() -> None:
    (recent,) = tiles_of(A4, HIGH_RESOLUTION)
    (earlier,) = tiles_of(A4, STANDARD_RESOLUTION)
    assert earlier.size < (1109, 1568) < recent.size < (1822, 2576)
    assert visual_tokens(recent.size) > 0.97 * HIGH_RESOLUTION.tokens
    assert visual_tokens(earlier.size) > 0.97 * STANDARD_RESOLUTION.tokens
