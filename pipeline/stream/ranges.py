"""Reading stretches of partitions, from one offset to another, again and again if need be."""

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from pipeline.stream.brokers import TopicPartition
from pipeline.stream.records import Received


class RangeReader(Protocol):
    """Reads committed records outside of any group; `KafkaRanges` is the real one."""

    async def ends(self, topic: str) -> dict[TopicPartition, int]:
        """Where the logs of a topic end, what is not committed yet included.

        Raises:
            TopicMissing: It does not exist.
            PipelineError: The brokers do not answer.
        """
        ...

    def read(
        self, partition: TopicPartition, begin: int, end: int
    ) -> AsyncGenerator[Sequence[Received], None]:
        """The committed records of a stretch, in order, some at a time.

        It waits for transactions that are open in it. What retention has removed does not come.

        Args:
            partition: Of which log.
            begin: The first offset.
            end: The one after the last.

        Raises:
            Unavailable: The brokers bring nothing for long.
        """
        ...
