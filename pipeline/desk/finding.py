"""The one record that a person names by its place."""

from pipeline.desk.place import Place, place_of
from pipeline.stream.brokers import TopicPartition
from pipeline.stream.reader import Reading
from pipeline.stream.records import Received


async def record_at(read: Reading, topic: str, place: Place) -> Received | None:
    """The record at a place; None where there is none (any more)."""
    start = {TopicPartition(topic, place.partition): place.offset}
    async with read([topic], start=start) as records:
        async for record in records:
            return record if place_of(record) == place else None
    return None
