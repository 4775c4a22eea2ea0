"""What is wrong with an image as an image, measured on its pixels."""

from dataclasses import dataclass
from typing import Any

_DARK = 70
_FLAT = 18.0
_SMALL = 500
_SOFT = 60.0


@dataclass(frozen=True, slots=True)
class Quality:
    """Measures of an image.

    Args:
        brightness: Mean of its grey levels, 0 to 255.
        contrast: Their standard deviation.
        sharpness: Variance of its Laplacian: low where edges are soft.
        long_edge: In pixels, as it came.
    """

    brightness: float
    contrast: float
    sharpness: float
    long_edge: int

    @property
    def defects(self) -> frozenset[str]:
        """Words for what is wrong."""
        found = {
            "dark": self.brightness < _DARK,
            "blurred": self.sharpness < _SOFT and self.contrast > _FLAT,
            "low_resolution": self.long_edge < _SMALL,
        }
        return frozenset(name for name, holds in found.items() if holds)


def measure(grey: Any, long_edge: int) -> Quality:  # noqa: ANN401 - a numpy array of two axes
    """Measure an image.

    Args:
        grey: Its grey levels.
        long_edge: See `Quality`.
    """
    levels = grey.astype("float32")
    edges = (
        levels[1:-1, :-2] + levels[1:-1, 2:] + levels[:-2, 1:-1] + levels[2:, 1:-1]
        - 4 * levels[1:-1, 1:-1]
    )  # fmt: skip
    sharpness = float(edges.var()) if edges.size else 0.0
    return Quality(float(levels.mean()), float(levels.std()), sharpness, long_edge)
