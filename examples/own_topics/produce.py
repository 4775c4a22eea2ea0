"""A topic that a team has already: its cases in Avro with a schema registry, or in JSON without.

    python produce.py BROKERS TOPIC [REGISTRY]

Nothing of it knows the pipeline. It needs `pip install 'confluent-kafka[avro,schemaregistry]'`.
"""

import json
import sys
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

from confluent_kafka import Producer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

SCHEMA = """{
  "type": "record", "name": "Case", "namespace": "com.acme.support", "fields": [
    {"name": "caseNumber", "type": "long"},
    {"name": "openedAt", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "status", "type": {"type": "enum", "name": "Status", "symbols": ["NEW", "CLOSED"]}},
    {"name": "account", "type": {"type": "record", "name": "Account", "fields": [
      {"name": "number", "type": "long"}, {"name": "plan", "type": "string"}
    ]}},
    {"name": "headline", "type": ["null", "string"], "default": null},
    {"name": "problem", "type": "string"}
  ]
}"""
PROBLEMS = (
    ("Charged twice", "My card was charged twice for November, please refund one of them."),
    ("Cannot log in", "Since the update I get error 403 when I log in, on both laptops."),
    (None, "Do you have a plan for twelve seats, and what does it cost us for a year?"),
    ("Opening hours", "When are you open between Christmas and New Year, and whom can we call?"),
)


def case(n: int) -> dict[str, Any]:
    headline, problem = PROBLEMS[n % len(PROBLEMS)]
    return {
        "caseNumber": 7_000_000_000 + n,
        "openedAt": datetime(2026, 11, 30, 9, tzinfo=UTC) + timedelta(minutes=n),
        "status": "CLOSED" if n % 12 == 11 else "NEW",
        "account": {"number": 4711 + n % 3, "plan": "team"},
        "headline": headline,
        "problem": problem,
    }


def main(brokers: str, topic: str, registry: str | None = None) -> None:
    producer = Producer({"bootstrap.servers": brokers})
    context = SerializationContext(topic, MessageField.VALUE)
    with ExitStack() as stack:
        avro = None
        if registry is not None:
            client = stack.enter_context(SchemaRegistryClient({"url": registry}))
            avro = AvroSerializer(client, SCHEMA)
        for n in range(12):
            value = case(n)
            content = json.dumps(value, default=str) if avro is None else avro(value, context)
            producer.produce(topic, key=str(value["account"]["number"]), value=content)
        producer.flush()
    print(f"12 records on {topic}")


if __name__ == "__main__":
    main(*sys.argv[1:])
