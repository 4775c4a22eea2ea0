"""A transaction that is attempted again while brokers abort it, until somebody else takes over."""

import asyncio
from collections.abc import Sequence

from pipeline.errors import PipelineError
from pipeline.stream.brokers import Aborted, Committed, Fenced, Session, Unavailable
from pipeline.stream.records import Outgoing

_ATTEMPTS = 6
_RETRY_FIRST = 0.2
"""Seconds before the second attempt; each further one waits twice as long."""


class TakenOver(PipelineError):
    """Somebody else has begun to do the same; what this process did until then holds."""


async def commit(
    session: Session, records: Sequence[Outgoing], committed: Committed | None, *, taken_over: str
) -> None:
    """Commit records, and an offset if there is one.

    Args:
        session: Started.
        records: What is published.
        committed: The offset; None for none.
        taken_over: What to say if the session has another owner by now.

    Raises:
        TakenOver: It has; nothing was committed.
        BrokerError: Whether it was committed is not known, or it was not.
    """
    for attempt in range(_ATTEMPTS):
        try:
            await session.commit(records, committed)
        except Fenced as error:
            raise TakenOver(taken_over) from error
        except Aborted as error:
            if attempt == _ATTEMPTS - 1:
                raise Unavailable(f"The brokers take nothing: {error}") from error
            await asyncio.sleep(_RETRY_FIRST * 2**attempt)
        else:
            return
