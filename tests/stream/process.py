"""A process that runs one engine, for tests that kill it: `python -m tests.stream.process`.

Arguments, as JSON: bootstrap, group, input, output, seconds. It copies each record to the output
after a while, and writes a line for each call: the partition, the offset and the value. A value
that starts with `slow` takes a minute, unless a file named `fast` lies in the directory it was
started in. SIGTERM stops it.
"""

import asyncio
import json
import signal
import sys
from pathlib import Path

from pipeline.config import KafkaSettings, StreamSettings, TopicSettings
from pipeline.kafka.brokers import KafkaBrokers
from pipeline.stream.engine import Engine
from pipeline.stream.records import Disposition, Outcome, Outgoing, Received

SLOW = 60.0


async def main(options: dict[str, str], slow: float) -> None:
    async def handle(record: Received) -> Outcome:
        value = (record.value or b"").decode()
        sys.stdout.write(f"{record.partition} {record.offset} {value}\n")
        sys.stdout.flush()
        await asyncio.sleep(slow if value.startswith("slow") else float(options["seconds"]))
        return Outcome(
            Disposition.ENRICHED, (Outgoing(options["output"], record.key, record.value, ()),)
        )

    kafka = KafkaSettings(bootstrap_servers=options["bootstrap"], session_timeout=6)
    stream = StreamSettings(drain_budget=2)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    engine = Engine(
        "stage",
        [options["input"]],
        handle,
        brokers=KafkaBrokers(kafka, stream, TopicSettings(), "exactly_once"),
        group=options["group"],
        settings=stream,
    )
    await engine.run(stop)


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1]), 0.0 if Path("fast").exists() else SLOW))
