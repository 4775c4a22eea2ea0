"""How large a picture is sent, and where a very long one is cut. Pure arithmetic.

A model sees a picture within a long edge and a number of visual tokens, one for each square of
28 pixels; what is larger is scaled down. That suits pages and photographs. Of a till receipt, a
screenshot of a chat or a panorama it leaves a stripe in which nothing can be read, so those are
cut into tiles that overlap, each at the scale of a page.
"""

import math
from dataclasses import dataclass
from typing import Final

Size = tuple[int, int]
Box = tuple[int, int, int, int]
MAX_EDGE: Final = 2576
"""Pixels of the long edge that Haiku 5.5 and Sonnet 5.5 see (vision guide, August 2026)."""
MAX_TOKENS: Final = 4784
"""Visual tokens of one picture that they see (the same)."""
MAX_TILES: Final = 20
"""Parts of one picture. With more than 20 pictures in a request the API takes none with a side
over 2,000 pixels; and 20 tiles of 4,784 tokens stay below the 100,000 from which Haiku's price is
five times as high."""
_PATCH = 28
_PAGE = math.sqrt(2)
"""Sides of a sheet of A4: a long picture is sent at the scale at which a sheet as wide would be."""
_CUT_BELOW = 0.6
"""It is cut if, sent whole, it kept less than this share of that scale."""
_NO_WRITING = 8
"""Pixels across in which no letter has room, so that nothing is lost by scaling: a line, a rule."""
_OVERLAP = 12
"""A twelfth of a tile's length is repeated in the next: two to four lines of print."""


@dataclass(frozen=True, slots=True)
class Tile:
    """A part of a picture.

    Args:
        box: Left, upper, right and lower edge, in pixels of the picture.
        size: Width and height at which it is sent, in pixels.
    """

    box: Box
    size: Size


class TooLong(Exception):
    """A picture whose parts would be more than `MAX_TILES`; `tiles` is how many."""

    def __init__(self, tiles: int) -> None:
        super().__init__(f"{tiles} tiles")
        self.tiles = tiles


def visual_tokens(size: Size) -> int:
    """What a picture of a size counts."""
    return math.ceil(size[0] / _PATCH) * math.ceil(size[1] / _PATCH)


def tiles_of(size: Size, long_edge: int) -> tuple[Tile, ...]:
    """The parts in which a picture is sent: itself, or tiles from its beginning to its end.

    Args:
        size: Width and height of the picture, each at least 1.
        long_edge: Pixels of the long edge of what is sent; at most `MAX_EDGE` count.

    Raises:
        TooLong: It takes more tiles than one request carries.
    """
    edge = min(long_edge, MAX_EDGE)
    page = _fitting((max(1, int(edge / _PAGE)), edge), edge)
    short, long = sorted(size)
    scale = min(1.0, page[0] / short)
    if edge >= _CUT_BELOW * scale * long or short < _NO_WRITING:
        return (Tile((0, 0, *size), _fitting(size, edge)),)
    return _cut(size, page[1], scale)


def _fitting(size: Size, edge: int) -> Size:
    """The largest size of the same proportions that a model sees as it is."""
    scaled = _scaled(size, min(1.0, edge / max(size)))
    while visual_tokens(scaled) > MAX_TOKENS:
        edge = max(scaled) - 1
        scaled = _scaled(size, edge / max(size))
    return scaled


def _scaled(size: Size, scale: float) -> Size:
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _cut(size: Size, edge: int, scale: float) -> tuple[Tile, ...]:
    # In pixels of the picture; all tiles are equally long.
    short, long = sorted(size)
    most = max(1, int(edge / scale))
    overlap = most // _OVERLAP
    count = math.ceil((long - overlap) / (most - overlap))
    if count > MAX_TILES:
        raise TooLong(count)
    length = math.ceil((long + (count - 1) * overlap) / count)
    starts = [round(i * (long - length) / (count - 1)) for i in range(count)]
    across, along = max(1, round(short * scale)), max(1, min(edge, round(length * scale)))
    if size[1] == long:
        return tuple(Tile((0, at, short, at + length), (across, along)) for at in starts)
    return tuple(Tile((at, 0, at + length, short), (along, across)) for at in starts)
