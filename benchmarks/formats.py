"""What a registry's formats cost: CPU of an event with framed records in and out, against JSON.

`python -m benchmarks.formats` runs the pipeline on one core as `benchmarks.metrics` does, on
brokers in memory, with JSON in and out: that gives the CPU time of an event. Then what a format
adds to it is done alone, thousands of times over: a framed record is read and written as the JSON
that the stage takes, and the result is made from its JSON. An A-B comparison of whole runs could
not show differences this small. With a Kafka client an event costs more, so that the ratio is
smaller than what is found here. Prints a table, the goal, and one JSON object as its last line.
"""

import asyncio
import io
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, cast

import fastavro
import orjson
import uvloop

from benchmarks.goals import Part, Table, at_most
from benchmarks.metrics import EVENTS, cost, run
from benchmarks.report import show
from benchmarks.responder import responder
from benchmarks.tickets import charged_twice
from pipeline.cascade.publishing import enriched, publication
from pipeline.config import TicketSettings, TopicSettings
from pipeline.config.inputs import OutputFormat, OutputSettings, RegistrySettings
from pipeline.inputs.framing import Framed
from pipeline.inputs.outputs import ResultOutput, targets
from pipeline.inputs.protobuf import ProtobufReader
from pipeline.inputs.records import InputRecord
from pipeline.inputs.registry import Schema, SchemaKind, SchemaRegistry
from pipeline.kafka.topics import TopicNames
from pipeline.model.observer import Observer
from pipeline.model.records import Provenance, Source, Timing, Usage
from pipeline.stages.tickets import TicketResult, Tickets
from pipeline.stream.records import Received

GOAL = 1.15
"""CPU an event with Avro in and out, as a multiple of JSON's, at most."""
TIMES = 2_000
NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
_HEADER = b"\x00\x00\x00\x00\x01"
_AVRO = orjson.dumps(
    {
        "type": "record",
        "name": "Ticket",
        "fields": [{"name": "id", "type": "string"}, {"name": "body", "type": ["null", "string"]}],
    }
).decode()
_PROTOBUF = 'syntax = "proto3"; message Ticket { string id = 1; string body = 2; }'
_JSON = '{"type": "object"}'


class _OneSchema(SchemaRegistry):
    """A registry that answers at once."""

    def __init__(self, kind: SchemaKind, text: str) -> None:
        self._answer = Schema(kind, text)

    async def schema(self, schema_id: object) -> Schema:  # noqa: ARG002
        return self._answer


def reading(kind: SchemaKind, text: str, payload: bytes) -> Callable[[], object]:
    """Reads a framed record, and writes what the stage takes."""
    framed = Framed(RegistrySettings(url="http://none"))
    framed._registry = _OneSchema(kind, text)  # noqa: SLF001 - no server, whose time is not ours
    record = InputRecord("tickets", b"k", _HEADER + payload, {}, NOW)
    asyncio.run(framed.read(record))

    def read() -> object:
        # The schema is known, so nothing is waited for.
        try:
            framed.read(record).send(None)
        except StopIteration as end:
            return orjson.dumps(end.value.fields)
        raise RuntimeError("a record was waited for")

    return read


def publishing(format_: OutputFormat) -> Callable[[], object]:
    """Makes the outcome of a result."""
    settings = TicketSettings(output=OutputSettings(format=format_))
    stage, names = Tickets(settings), TopicNames(TopicSettings())
    received = Received("tickets.raw", 0, 1, b"k", b"", (), NOW, NOW)
    result = TicketResult.model_validate({
        "intent": "billing", "priority": "normal", "language": "en", "queue": "billing",
        "summary": "The customer was charged twice for an order.", "runner_up": None,
    })  # fmt: skip
    record = enriched(
        stage, None, result, event_id="T-1", decided_by="haiku", confidence=0.97, escalated=None,
        model="claude-haiku-4-5-20251001", usage=Usage(calls=1, input_tokens=1_900),
        source=Source(topic="tickets.raw", partition=0, offset=1, timestamp=NOW),
        timing=Timing(received_at=NOW, enriched_at=NOW, model_seconds=0.4),
        provenance=Provenance(provider="anthropic", prompt="0" * 16, settings="1" * 16),
    )  # fmt: skip
    outputs = {}
    if format_ != "json":
        wanted = targets(stage, settings, "tickets.enriched")
        outputs["tickets"] = ResultOutput(settings, wanted, [_HEADER])
    return lambda: publication(received, record, names, outputs)


def added() -> dict[str, tuple[float, float]]:
    """Microseconds that each format adds to an event, on its way in and on its way out."""
    event = charged_twice(1)
    value: dict[str, Any] = {"id": event.id, "body": event.body}
    avro = io.BytesIO()
    fastavro.schemaless_writer(avro, fastavro.parse_schema(orjson.loads(_AVRO)), value)
    message = ProtobufReader(Schema("PROTOBUF", _PROTOBUF)).message((0,))(**value)
    json_out = cost(publishing("json"), TIMES)
    ways = {
        "avro": reading("AVRO", _AVRO, avro.getvalue()),
        "json_schema": reading("JSON", _JSON, orjson.dumps(value)),
        "protobuf": reading("PROTOBUF", _PROTOBUF, b"\x00" + message.SerializeToString()),
    }
    return {
        name: (cost(read, TIMES), cost(publishing(cast("OutputFormat", name)), TIMES) - json_out)
        for name, read in ways.items()
    }


async def event_us() -> float:
    """CPU of an event with JSON in and out, in microseconds."""
    with responder(median=0.05) as port:
        return (await run(Observer(), port, EVENTS)).cpu_us


def main() -> int:
    if hasattr(os, "sched_getaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    base, found = uvloop.run(event_us()), added()
    ratios = {name: (base + sum(each)) / base for name, each in found.items()}
    rows = [("json", "", "", f"{base:.0f} us", "1.00")] + [
        (name, f"{in_:.0f} us", f"{out:.0f} us", f"{base + in_ + out:.0f} us", f"{ratio:.2f}")
        for (name, (in_, out)), ratio in zip(found.items(), ratios.values(), strict=True)
    ]
    show(
        Part(
            "formats",
            "What a registry's formats cost",
            "CPU of an event, with brokers in memory.",
            [Table(("format", "in", "out", "an event", "of JSON's"), rows)],
            [at_most("CPU an event with framed Avro in and out", ratios["avro"], GOAL)],
            {"event_us": base, "added_us": found, "ratios": ratios},
        )
    )
    return 0 if ratios["avro"] <= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
