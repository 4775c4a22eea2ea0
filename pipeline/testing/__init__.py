"""What tests of stages and of whole pipelines need, without brokers, API or waiting.

A broker in memory (`MemoryBroker`), an event loop in which waiting costs nothing
(`run_in_virtual_time`), a model that answers what a test says (`FakeAsker`, `FakeClient`), and a
receiver of notifications (`WebhookReceiver`).
"""

from pipeline.testing.fakes import Asked, FakeAsker, FakeClient, MemoryFollower
from pipeline.testing.memory_broker import Entry, Group, MemoryBroker
from pipeline.testing.memory_clients import (
    Fault,
    Faults,
    Link,
    Loss,
    MemoryBrokers,
    MemoryGroup,
    MemoryTopicReader,
    NoFaults,
)
from pipeline.testing.virtual_time import NothingWillHappen, VirtualTimeLoop, run_in_virtual_time
from pipeline.testing.webhook_receiver import WebhookReceiver

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
    "MemoryFollower",
    "MemoryGroup",
    "MemoryTopicReader",
    "NoFaults",
    "NothingWillHappen",
    "VirtualTimeLoop",
    "WebhookReceiver",
    "run_in_virtual_time",
]
