"""A broker and a simulated Messages API on this machine, and the variables that point at them."""

import asyncio
import os
import shlex
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from pydantic import SecretStr

from pipeline.config import KafkaSettings, Settings
from pipeline.kafka.connection import admin_client
from pipeline.kafka.topics import TopicNames, Topics
from pipeline.local.apache import ApacheKafka
from pipeline.local.api import SimulatedApiProcess
from pipeline.local.broker import LocalBroker
from pipeline.local.noida import NoidaBroker
from pipeline.model.errors import UsageError
from pipeline.stages.api import build_stages

BROKERS = ("noida", "kafka")
API_KEY = "ANTHROPIC_API_KEY"
BASE_URL = "ANTHROPIC_BASE_URL"
_CALL_TIMEOUT = "PIPELINE_CLAUDE__CALL_TIMEOUT"
_COMMIT_INTERVAL = "PIPELINE_STREAM__COMMIT_INTERVAL"
SELDOM_SECONDS = 0.25
"""Between two commits of a partition on the embedded broker, which takes 500 a minute in all."""
PATIENCE_SECONDS = 600
"""The simulated API reads images with this machine's own processors; on a busy one that
takes its time, which must not be taken for an outage."""
SIMULATED_KEY = "simulated"
"""What the SDK is given where no key is set: it sends no request without one."""


@dataclass(frozen=True, slots=True)
class Environment:
    """What runs on this machine.

    Args:
        broker: The broker's name and version.
        kafka: Settings that reach it.
        variables: Environment variables that point the pipeline, and any client, at all of it.
    """

    broker: str
    kafka: KafkaSettings
    variables: Mapping[str, str]


@asynccontextmanager
async def local_environment(
    settings: Settings,
    *,
    broker: str = "noida",
    kafka_port: int = 0,
    api_port: int = 0,
    faults: Sequence[str] = (),
    api_options: Sequence[str] = (),
    with_api: bool = True,
) -> AsyncIterator[Environment]:
    """Start everything, make the topics of all stages, and stop everything at the end.

    Args:
        settings: How topics are called and what they are like.
        broker: Which one.
        kafka_port: Where the broker listens; 0 for a free port.
        api_port: Where the simulated API listens; 0 for a free port.
        faults: What goes wrong in the simulated API.
        api_options: Of the simulated API, as its program takes them.
        with_api: Start the simulated API, too.

    Raises:
        PipelineError: One of them could not be started.
    """
    async with AsyncExitStack() as stack:
        api = (
            SimulatedApiProcess(port=api_port, faults=faults, options=api_options)
            if with_api
            else None
        )
        running = await stack.enter_async_context(_broker(broker, kafka_port))
        await _make_topics(settings, running)
        variables = kafka_variables(running.settings)
        if broker == "noida":
            variables[_COMMIT_INTERVAL] = str(SELDOM_SECONDS)
        if api is not None:
            await stack.enter_async_context(api)
            variables |= {BASE_URL: api.base_url, _CALL_TIMEOUT: str(PATIENCE_SECONDS)}
            if not os.environ.get(API_KEY):
                variables[API_KEY] = SIMULATED_KEY
        yield Environment(running.name, running.settings, variables)


@asynccontextmanager
async def simulated_api(faults: Sequence[str] = ()) -> AsyncIterator[str]:
    """Start the simulated API alone, and point the SDK in this process at it until the end.

    Args:
        faults: What goes wrong in it.

    Yields:
        Its address.

    Raises:
        PipelineError: It could not be started.
    """
    async with SimulatedApiProcess(faults=faults) as api:
        # A real key has no business there.
        variables = {BASE_URL: api.base_url, API_KEY: SIMULATED_KEY}
        before = {name: os.environ.get(name) for name in variables}
        os.environ.update(variables)
        try:
            yield api.base_url
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


async def serve(
    settings: Settings,
    stop: asyncio.Event,
    show: Callable[[str], None],
    *,
    broker: str,
    kafka_port: int,
    api_port: int,
    faults: Sequence[str],
    api_options: Sequence[str] = (),
) -> None:
    """Run until `stop` is set; print what a shell has to evaluate, then `ready`.

    Raises:
        PipelineError: One of them could not be started.
    """
    async with local_environment(
        settings,
        broker=broker,
        kafka_port=kafka_port,
        api_port=api_port,
        faults=faults,
        api_options=api_options,
    ) as environment:
        for name, value in environment.variables.items():
            show(f"export {name}={shlex.quote(value)}")
        show("ready")
        await stop.wait()


def kafka_variables(kafka: KafkaSettings) -> dict[str, str]:
    """The environment variables that make these settings, as far as they were set.

    The protocol is always among them: what `pipeline.toml` says is meant for other brokers.
    """
    found = {}
    for name in sorted(kafka.model_fields_set | {"security_protocol"}):
        value = getattr(kafka, name)
        if value is not None:
            text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            found[f"PIPELINE_KAFKA__{name.upper()}"] = text
    return found


def _broker(kind: str, port: int) -> LocalBroker:
    match kind:
        case "noida":
            return NoidaBroker(port=port)
        case "kafka":
            return ApacheKafka(port=port)
        case _:
            raise UsageError(f"There is no broker {kind!r}; there are {', '.join(BROKERS)}.")


async def _make_topics(settings: Settings, broker: LocalBroker) -> None:
    names = TopicNames(settings.topics).of(build_stages(settings.stages))
    async with admin_client(broker.settings) as admin:
        await Topics(admin, settings.topics, configs=broker.topic_configs).create(names)
