"""One call of the Messages API, from the parsed body to the message: no HTTP in here."""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.local.simulated.answers import Answerer
from pipeline.local.simulated.caches import CacheUse
from pipeline.local.simulated.control import Control
from pipeline.local.simulated.faults import AFTER, Fault
from pipeline.local.simulated.ledger import Served
from pipeline.local.simulated.message import Reply, nothing, refusal, reply, spoil
from pipeline.local.simulated.request import MessageRequest
from pipeline.local.simulated.validation import asks_for_reasoning


@dataclass(frozen=True, slots=True)
class Exchanged:
    """A call that was answered.

    Args:
        body: The message.
        reply: Its parts.
        use: How its prompt met the prompt cache.
    """

    body: dict[str, Any]
    reply: Reply
    use: CacheUse


class Exchange:
    """Answers calls.

    Args:
        control: The shared state.
        answerer: Where answers come from.
    """

    def __init__(self, control: Control, answerer: Answerer) -> None:
        self._control = control
        self._answerer = answerer

    async def run(
        self,
        request: MessageRequest,
        scope: str,
        faults: Sequence[Fault] = (),
        *,
        message_id: str,
        batch: bool = False,
    ) -> Exchanged:
        """Answer a valid request, as slowly as is set.

        Args:
            request: What is asked.
            scope: Who asks: keys share no prompt cache.
            faults: What goes wrong with the answer.
            message_id: Of the answer.
            batch: Without rate limits and delay.

        Raises:
            ApiError: A limit is reached, or a file cannot be read.
        """
        control, started = self._control, self._control.clock()
        model = request.model
        use, pending = control.prompt_cache.use(
            f"{scope}\x00{model.id}", request.blocks, minimum=model.cacheable, now=started
        )
        counted = use.uncached + use.written
        if not batch:
            control.admit(model.id, counted)
        made = await self._reply(request, faults)
        base = control.latency_of(model.id).draw(control.random, 0)
        total = base + control.latency_of(model.id).per_token * made.output_tokens
        total += sum(fault.seconds for fault in faults if fault.kind == "slow")
        pending.begins(started if batch else started + base)
        if not batch:
            control.limiter(model.id).settle(
                estimated_input=counted,
                input_tokens=counted,
                output_tokens=made.output_tokens,
                now=control.clock(),
            )
            await self._wait_until(started + total)
        tier = "batch" if batch else "standard"
        return Exchanged(made.message(request, use, message_id, tier), made, use)

    async def _reply(self, request: MessageRequest, faults: Sequence[Fault]) -> Reply:
        if asks_for_reasoning(request):
            return refusal("reasoning_extraction")
        if not request.max_tokens:
            return nothing(request)
        for fault in faults:
            if fault.kind == "refusal":
                return refusal(fault.category)
        made = reply(request, await self._answerer.answer(request))
        for fault in faults:
            if fault.kind in AFTER:
                made = spoil(made, fault.kind, self._control.random)
        return made

    async def _wait_until(self, moment: float) -> None:
        left = moment - self._control.clock()
        if left > 0:
            await asyncio.sleep(left)


def served(
    request: MessageRequest,
    exchanged: Exchanged,
    *,
    at: float,
    seconds: float,
    caller: str | None = None,
    mark: str | None = None,
    endpoint: str = "messages",
    custom_id: str | None = None,
    outcome: str = "answered",
    status: int = 200,
) -> Served:
    """The line of the ledger."""
    made, use = exchanged.reply, exchanged.use
    return Served(
        at=at,
        endpoint=endpoint,
        model=request.model.id,
        status=status,
        outcome=outcome if made.stop_reason != "refusal" else "refusal",
        billed=made.billed,
        digest=request.digest,
        caller=caller,
        mark=mark,
        custom_id=custom_id,
        seconds=round(seconds, 6),
        input_tokens=use.uncached,
        cache_read_tokens=use.read,
        cache_write_5m_tokens=use.written_5m,
        cache_write_1h_tokens=use.written_1h,
        output_tokens=made.output_tokens,
    )


def scope_of(key: str) -> str:
    """What stands for an API key: the key itself is kept nowhere."""
    return hashlib.blake2b(key.encode("utf-8", "replace"), digest_size=8).hexdigest()
