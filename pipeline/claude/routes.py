"""The endpoints of a tier: where a question goes, how it gets to the other one, and who probes.

`pipeline.claude.failover` decides by what the limiters know; what it decides is carried out here.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, replace

from pipeline.claude.calls import (
    CONTROL,
    Caller,
    CompletedCall,
    Endpoint,
    InFlightCall,
    ModelRequest,
)
from pipeline.claude.failover import FAILURES_IN_A_ROW, Failover, LeavesEndpoint, Standing
from pipeline.claude.failures import Attempts
from pipeline.claude.limiter import Limiter
from pipeline.model.errors import AnswerError
from pipeline.model.observer import Observer, Place
from pipeline.model.records import Tier, Usage

log = logging.getLogger(__name__)
PROBE_PAUSE_SECONDS = 1.0
"""How often it is looked whether an endpoint is to be probed; its breaker says when it may be."""
PROBE_SECONDS = 10.0
"""An endpoint that takes longer for a control question, whose answer is short, is not back."""
_OTHER: Mapping[Place, Place] = {"first": "fallback", "fallback": "first"}


class Route:
    """Where the questions to a tier go; with one endpoint alone there.

    Args:
        endpoints: One, or two.
        clock: Seconds that do not go back.
    """

    def __init__(
        self,
        tier: Tier,
        endpoints: Mapping[Place, Endpoint],
        *,
        observer: Observer,
        clock: Callable[[], float],
    ) -> None:
        self.endpoints = endpoints
        self.has_fallback = "fallback" in endpoints
        self._limiters = {place: each.limiter for place, each in endpoints.items()}
        self._tier = tier
        self._observer = observer
        self._clock = clock
        self._failovers: defaultdict[str, Failover] = defaultdict(Failover)
        self._controls: dict[Place, dict[str, ModelRequest]] = {place: {} for place in endpoints}
        self._reported: frozenset[Place] = frozenset()

    def begin(self, stage: str, request_at: "RequestAt") -> ModelRequest:
        """The request to make for a question, at the endpoint where it goes now."""
        if not self.has_fallback:
            return request_at("first", None)
        place = self._failovers[stage].pick(*self._standings(stage), self._clock())
        request = Visit(self, stage, place, request_at).request()
        if len(request.body) > min(map(self._largest, _OTHER)):
            # One of the two takes no request of that size: it is the other's, and stays there.
            return request_at(max(_OTHER, key=self._largest), None)
        return request

    @property
    def limiters(self) -> Collection[Limiter]:
        return self._limiters.values()

    def places(self, stage: str) -> tuple[Place, ...]:
        """Where questions of a stage go at present."""
        if not self.has_fallback:
            return ("first",)
        return self._failovers[stage].in_use(*self._standings(stage), self._clock())

    def leaves(self, stage: str, place: Place) -> bool:
        """Whether a question of a stage that waits there is to go to the other endpoint."""
        return self._failovers[stage].leaves(place, *self._standings(stage), self._clock())

    def is_out(self, stage: str, place: Place) -> bool:
        return self._limiters[place].standing(stage).is_out(self._clock())

    def paused_reason(self, stage: str) -> str | None:
        """Why no question of a stage can go for a while, or None."""
        first = self._limiters["first"]
        if any(self._controls.values()) and all(self.is_out(stage, place) for place in _OTHER):
            # No event is needed to probe.
            return first.standing(stage).because or first.paused_reason(stage)
        reasons = [self._limiters[place].paused_reason(stage) for place in self.places(stage)]
        return None if None in reasons else reasons[0]

    def at_once(self, stage: str, together: int) -> int:
        """How many questions are worth asking at once, where `together` share a request.

        Those that are left at an endpoint that is not asked any more come on top.
        """
        places = self.places(stage)
        return sum(
            limiter.at_once(together) if place in places else limiter.questions
            for place, limiter in self._limiters.items()
        )

    def remember(self, stage: str, place: Place, request_at: "RequestAt") -> None:
        """Keep what the endpoint can be probed with, while no question of the stage goes there."""
        if stage not in (controls := self._controls[place]):
            request = request_at(place, None)
            question = replace(request.question, parts=CONTROL)
            controls[stage] = replace(request, question=question, body=b"")

    async def probe(self, place: Place, caller: Caller) -> None:
        """Ask an endpoint control questions for as long as calls to it fail; never ends."""
        limiter, controls = self._limiters[place], self._controls[place]
        while True:
            await asyncio.sleep(PROBE_PAUSE_SECONDS)
            for stage, control in list(controls.items()):
                if limiter.standing(stage).because is None:
                    continue
                limiter.questions += 1
                try:
                    await caller.ask_control(control, within=PROBE_SECONDS)
                finally:
                    limiter.questions -= 1

    def report(self) -> None:
        """Report which endpoints are asked, where that has changed."""
        places = frozenset(place for stage in self._failovers for place in self.places(stage))
        places = places or frozenset({"first"})
        if places == self._reported:
            return
        if self._reported or places != {"first"}:
            names = " and ".join(self._limiters[place].model for place in sorted(places))
            standings = [self._limiters["first"].standing(stage) for stage in self._failovers]
            reason = next((each.because for each in standings if each.because), "")
            log.warning("the tier %s is now asked at %s. %s", self._tier, names, reason)
        self._reported = places
        for place, limiter in self._limiters.items():
            in_use = place in places
            self._observer.in_use(self._tier, limiter.model, place, in_use=in_use)

    def _largest(self, place: Place) -> int:
        return self.endpoints[place].provider.largest_request

    def _standings(self, stage: str) -> tuple[Standing, Standing]:
        limiters = self._limiters
        return limiters["first"].standing(stage), limiters["fallback"].standing(stage)


@dataclass(frozen=True, slots=True)
class Visit:
    """A question at one of the two endpoints of its tier: a `pipeline.claude.calls.Stay`.

    `may_give_up`: its own failures are reason enough to leave, as they are once.
    """

    route: Route
    stage: str
    place: Place
    request_at: "RequestAt"
    may_give_up: bool = True

    def request(self) -> ModelRequest:
        other = _OTHER[self.place]
        if self.route.is_out(self.stage, other):
            self.route.remember(self.stage, other, self.request_at)
        return self.request_at(self.place, self)

    def is_over(self) -> bool:
        return self.route.leaves(self.stage, self.place)

    def end_after(self, attempts: Attempts) -> None:
        enough = FAILURES_IN_A_ROW - (attempts.timed_out > 0)
        if (
            self.may_give_up
            and attempts.in_a_row >= enough
            and not self.route.is_out(self.stage, _OTHER[self.place])
        ):
            raise LeavesEndpoint

    def moved(self) -> ModelRequest:
        place = _OTHER[self.place]
        return replace(self, place=place, may_give_up=False).request()


RequestAt = Callable[[Place, Visit | None], ModelRequest]
"""Makes the request for one question, for either endpoint of its tier."""
Call = Callable[[ModelRequest, InFlightCall], Awaitable[CompletedCall]]


async def call_where_possible(
    call: Call, request: ModelRequest, in_flight: InFlightCall
) -> CompletedCall:
    """Make a call, at the other endpoint of its tier where it has to leave the one that it is at.

    Raises:
        AnswerError: The answer is no use.
    """
    left = Usage()
    while True:
        try:
            completed = await call(request, in_flight)
        except LeavesEndpoint as leaves:
            if request.stay is None:
                raise
            left += leaves.usage
            request = request.stay.moved()
        except AnswerError as error:
            error.usage = left + error.usage
            raise
        else:
            if not left.unanswered:
                return completed
            response = completed.response
            return replace(completed, response=replace(response, usage=left + response.usage))
