"""What tests of stages and of whole pipelines need, without brokers, API or waiting.

A broker in memory, an asker and a client that answer as they are told, and time that tests drive.

async def scenario() -> None:
    broker = MemoryBroker()
    broker.create_topic("in")
    engine = Engine(..., brokers=MemoryBrokers(broker))
    ...

run_in_virtual_time(scenario())
"""

from pipeline.claude.fake import Asked, FakeAsker, FakeClient
from pipeline.stream.memory.broker import MemoryBroker
from pipeline.stream.memory.brokers import MemoryBrokers
from pipeline.stream.memory.clock import NothingWillHappen, VirtualTimeLoop, run_in_virtual_time
from pipeline.stream.memory.group import Group
from pipeline.stream.memory.link import Fault, Faults, Link, Loss, NoFaults
from pipeline.stream.memory.log import Entry
from pipeline.stream.memory.reading import MemoryReading

__all__ = [
    "Asked",
    "Entry",
    "FakeAsker",
    "FakeClient",
    "Fault",
    "Faults",
    "Group",
    "Link",
    "Loss",
    "MemoryBroker",
    "MemoryBrokers",
    "MemoryReading",
    "NoFaults",
    "NothingWillHappen",
    "VirtualTimeLoop",
    "run_in_virtual_time",
]
