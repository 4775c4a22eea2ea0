"""Records with headers that aiokafka can neither write nor read."""

from aiokafka import AIOKafkaProducer
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy


class NotUtf8(str):
    """A header's name that only its publisher can read."""

    __slots__ = ()

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return b"\xff\xfe"


async def send_unreadable(producer: AIOKafkaProducer, topic: str) -> None:
    """Put `odd`, whose only header has such a name, and `after` on partition 0."""
    batch = producer.create_batch()
    batch._builder = _DefaultRecordBatchBuilderPy(2, 0, 0, -1, -1, -1, 1 << 14)
    batch.append(key=None, value=b"odd", timestamp=None, headers=[(NotUtf8("x"), b"value")])
    batch.append(key=None, value=b"after", timestamp=None, headers=[])
    await (await producer.send_batch(batch, topic, partition=0))
