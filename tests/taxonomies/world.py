"""A company's own folder, its settings, and its events through the simulated API."""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson
import pytest

from pipeline.cascade.deciding import CascadePolicy
from pipeline.cascade.policy import Policy
from pipeline.cascade.processor import Processor
from pipeline.cascade.reading import RawEvents
from pipeline.claude.gateway import Gateway
from pipeline.config import Settings, load_settings
from pipeline.kafka.topics import TopicNames
from pipeline.local.simulated import SimulatedApi
from pipeline.model.observer import Observer
from pipeline.model.records import Tier
from pipeline.stages.api import build_stages
from pipeline.stream.records import Outcome, Received
from tests.cascade.stand_ins import NOON


def settings_in(folder: Path) -> Settings:
    """What a command started in that folder goes by."""
    with chdir(folder):
        return load_settings()


def raw(value: object, stage: str, *, offset: int = 0) -> Received:
    """A record of a stage's raw topic."""
    content = value if isinstance(value, bytes) else orjson.dumps(value)
    return Received(
        topic=f"{stage}.raw", partition=0, offset=offset, key=b"k", value=content, headers=(),
        timestamp=NOON, received_at=NOON,
    )  # fmt: skip


async def outcomes(
    settings: Settings,
    stage: str,
    events: Iterable[object],
    monkeypatch: pytest.MonkeyPatch,
) -> Sequence[Outcome]:
    """What becomes of events in the first tier, in their order; nothing is spent for the next."""
    with TemporaryDirectory() as folder:
        settings = settings.model_copy(deep=True)
        settings.claude.state_dir = Path(folder)
        return await _outcomes(settings, stage, events, monkeypatch)


async def _outcomes(
    settings: Settings,
    stage: str,
    events: Iterable[object],
    monkeypatch: pytest.MonkeyPatch,
) -> Sequence[Outcome]:
    async with SimulatedApi() as api:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", api.base_url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-test")
        async with Gateway(settings) as gateway:
            process = Processor(
                RawEvents(build_stages(settings.stages)[stage]),
                CascadePolicy(gateway, Policy.from_settings(settings), Tier.HAIKU),
                TopicNames.under(settings),
                clock=lambda: NOON,
                observer=Observer(),
            )
            records = [raw(event, stage, offset=i) for i, event in enumerate(events)]
            return await asyncio.gather(*(process(record) for record in records))
