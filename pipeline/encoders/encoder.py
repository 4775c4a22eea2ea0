"""What an encoder is."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy
    import numpy.typing

    Vectors = numpy.typing.NDArray[numpy.float32]
    """One row a text, each of length 1, so that products of rows are cosines."""


class Encoder(Protocol):
    """Makes vectors of texts, alike for texts that mean alike. May be called from any thread."""

    def encode(self, texts: Sequence[str]) -> "Vectors":
        """A vector for each text, as rows of length 1; of an empty text any."""
        ...
