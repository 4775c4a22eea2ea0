"""What tests of stages and of whole pipelines need: a broker in memory, and time that they drive.

async def scenario() -> None:
    broker = MemoryBroker()
    broker.create_topic("in")
    engine = Engine(..., brokers=MemoryBrokers(broker))
    ...

run_in_virtual_time(scenario())
"""

from pipeline.stream.memory.broker import MemoryBroker
from pipeline.stream.memory.brokers import MemoryBrokers
from pipeline.stream.memory.clock import NothingWillHappen, VirtualTimeLoop, run_in_virtual_time
from pipeline.stream.memory.group import Group
from pipeline.stream.memory.link import Fault, Faults, Link, Loss, NoFaults
from pipeline.stream.memory.log import Entry

__all__ = [
    "Entry",
    "Fault",
    "Faults",
    "Group",
    "Link",
    "Loss",
    "MemoryBroker",
    "MemoryBrokers",
    "NoFaults",
    "NothingWillHappen",
    "VirtualTimeLoop",
    "run_in_virtual_time",
]
