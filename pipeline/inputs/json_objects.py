"""JSON without an envelope: the value is an object, which is the event."""

from pipeline.inputs.records import Document, InputRecord, off_loop
from pipeline.stages.files.raw_events import read_object


class JsonObjects:
    """Reads one JSON object a record, within the limits of a stage's own reader."""

    async def read(self, record: InputRecord) -> Document | None:
        if record.value is None:
            return None
        return await off_loop(lambda whole: Document(read_object(whole.value or b"")), record)
