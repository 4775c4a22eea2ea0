"""Questions that may wait: as requests of a batch, and back as replies at half the price."""

from collections.abc import Callable
from typing import Any

from pipeline.claude.batch import BatchRequest, Succeeded
from pipeline.claude.batches import Batches
from pipeline.claude.calls import Caller, Order
from pipeline.claude.reuse import reply_of
from pipeline.events import Tier
from pipeline.questions import AnswerT, Question, Reply


class BatchLane:
    """Turns questions into requests of a batch, and its results into replies.

    Args:
        api: The batch endpoints.
        caller: Reads and prices answers.
        order: Makes the request of a question.
    """

    def __init__(
        self,
        api: Batches,
        caller: Caller,
        order: Callable[[Question[Any], Tier, int], Order],
    ) -> None:
        self.api = api
        self._caller = caller
        self._order = order

    def request(self, question: Question[Any], tier: Tier, custom_id: str) -> BatchRequest:
        """The request that asks a question: the same as if it were asked by itself.

        Args:
            question: Of a stage.
            tier: Who is asked.
            custom_id: 1 to 64 letters, digits, `_` and `-`; unique.
        """
        order = self._order(question, tier, question.max_output_tokens)
        return BatchRequest(custom_id, order.body)

    def reply(self, question: Question[AnswerT], tier: Tier, result: Succeeded) -> Reply[AnswerT]:
        """The reply to a question; counts what it cost, so it is to be read once.

        Raises:
            AnswerError: The answer is no use.
        """
        order = self._order(question, tier, question.max_output_tokens)
        return reply_of(self._caller.receive(order, result.message))
