"""Brokers that tests share; a plug-in of pytest, registered in `conftest.py`.

Each broker is started at most once a session and test process, so a test makes its own topics and
groups under names from `fresh_name`.
"""

import asyncio
import itertools
import os
from collections.abc import Callable, Iterator

import pytest

from pipeline.local.broker import LocalBroker
from pipeline.local.noida import NoidaBroker

FreshName = Callable[[str], str]

_numbers = itertools.count(1)


@pytest.fixture
def fresh_name() -> FreshName:
    """A function that makes a word into a name that nobody else in this session uses."""
    return lambda word: f"{word}-{os.getpid()}-{next(_numbers)}"


@pytest.fixture(scope="session")
def embedded_broker() -> Iterator[NoidaBroker]:
    """The embedded broker; a test that ends it starts one of its own instead."""
    broker = NoidaBroker()
    asyncio.run(broker.start())
    yield broker
    asyncio.run(broker.stop())


@pytest.fixture(params=["embedded_broker"])
def any_broker(request: pytest.FixtureRequest) -> LocalBroker:
    """Each broker in turn, for what must hold on all of them."""
    broker: LocalBroker = request.getfixturevalue(request.param)
    return broker
