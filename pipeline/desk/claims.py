"""Which case a person works on, so that two do not work on one. Pure, on a clock that is given.

Claims are in the memory of one process and end by themselves. Between processes nothing is claimed:
there the second verdict is refused when it is to be published.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from pipeline.desk.routes import Conflict
from pipeline.operators.selection import Place

CLAIM_SECONDS = 180.0
"""After which a claim ends; a page that shows the case renews it three times as often."""


class Claimed(Conflict):
    """Somebody else works on it."""

    def __init__(self, by: str) -> None:
        super().__init__(f"{by} works on this case: take another one.")
        self.by = by


@dataclass(frozen=True, slots=True)
class _Claim:
    by: str
    until: float


@dataclass(eq=False)
class Claims:
    """Who works on what, by name."""

    clock: Callable[[], float]
    seconds: float = CLAIM_SECONDS
    _claims: dict[Place, _Claim] = field(default_factory=dict, init=False)

    def take(self, place: Place, by: str) -> None:
        """Claim a case, or claim it for longer; `Claimed` if it is somebody else's."""
        self.check(place, by)
        self._claims[place] = _Claim(by, self.clock() + self.seconds)

    def check(self, place: Place, by: str) -> None:
        """Raise `Claimed` if a case is somebody else's."""
        owner = self.owner(place)
        if owner is not None and owner != by:
            raise Claimed(owner)

    def release(self, place: Place, by: str) -> None:
        """Give a case up, if it is one's own."""
        if self.owner(place) == by:
            del self._claims[place]

    def owner(self, place: Place) -> str | None:
        """Who works on a case."""
        return self.owners().get(place)

    def owners(self) -> dict[Place, str]:
        """Who works on what now."""
        now = self.clock()
        self._claims = {place: each for place, each in self._claims.items() if each.until > now}
        return {place: each.by for place, each in self._claims.items()}
