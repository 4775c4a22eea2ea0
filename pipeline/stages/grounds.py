"""What a transparent picture is laid on: a ground on which its content is seen.

Black writing on nothing is read on paper, white writing is not. What decides is the content's
edge, where it meets the ground: a letter is hardly more than that, and of a photograph with a
transparent margin nothing else could be lost.
"""

from collections.abc import Iterable
from typing import Final

from PIL import Image as Pillow
from PIL import ImageChops

GROUNDS: Final = (255, 16, 128, 64, 192)
"""Levels of grey, the most usual first: paper, dark, and what sets off black and white alike."""
_PAPER = GROUNDS[0]
_ALIKE = 40
"""Levels of grey between content and ground below which writing is hard to read."""
_NEGLIGIBLE = 0.005
"""Share of the edges that may be lost on paper: what scaling and compression leave behind."""
_EDGE = 16
"""Levels of opacity by which content rises over its neighbours at an edge; shadows rise less."""
_NEIGHBOURS = ((-2, 0), (2, 0), (0, -2), (0, 2))
"""Where they lie, in pixels: a stroke of up to four pixels is all edge."""


def ground_for(parts: Iterable[Pillow.Image]) -> int:
    """The level of grey that the parts of a picture are laid on.

    Args:
        parts: In mode RGBA, at the size that is sent.
    """
    levels = [0] * 256
    for part in parts:
        levels = [a + b for a, b in zip(levels, _levels_at_edges(part), strict=True)]
    lost = {ground: _levels_like(ground, levels) for ground in GROUNDS}
    if lost[_PAPER] <= _NEGLIGIBLE * sum(levels):
        return _PAPER
    return min(GROUNDS, key=lost.__getitem__)


def laid_on(ground: int, part: Pillow.Image) -> Pillow.Image:
    """A picture in mode RGBA, opaque."""
    below = Pillow.new("RGBA", part.size, (ground, ground, ground, 255))
    return Pillow.alpha_composite(below, part).convert("RGB")


def _levels_at_edges(part: Pillow.Image) -> list[int]:
    """How many pixels at the content's edges have each level of grey."""
    opacity = part.getchannel("A")
    lowest = opacity
    for across, down in _NEIGHBOURS:
        lowest = ImageChops.darker(lowest, ImageChops.offset(opacity, across, down))
    rise = ImageChops.subtract(opacity, lowest)
    edges = rise.point([0] * _EDGE + [255] * (256 - _EDGE))
    return part.convert("RGB").convert("L").histogram(edges)


def _levels_like(ground: int, levels: list[int]) -> int:
    return sum(levels[max(0, ground - _ALIKE) : ground + _ALIKE + 1])
