"""A broker and a simulated Messages API on this machine, and the variables that point at them."""

import asyncio
import os
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

import orjson
from pydantic import BaseModel, SecretStr

from pipeline.config import KafkaSettings, Settings
from pipeline.kafka.connection import admin_client
from pipeline.kafka.topics import TopicNames, Topics
from pipeline.local.apache import ApacheKafka
from pipeline.local.broker import LocalBroker, NoidaBroker
from pipeline.local.child import Child
from pipeline.model.errors import UsageError

API_KEY = "ANTHROPIC_API_KEY"
BASE_URL = "ANTHROPIC_BASE_URL"
PATIENCE_SECONDS = 600
"""The simulated API reads images with this machine's own processors; on a busy one that
takes its time, which must not be taken for an outage."""
_BROKERS: Mapping[str, Callable[[int], LocalBroker]] = {
    "noida": lambda port: NoidaBroker(port=port),
    "kafka": lambda port: ApacheKafka(port=port),
}
_SELDOM_SECONDS = 0.25
"""The time between two commits of a partition on the embedded broker, which takes 500 a minute."""
_SIMULATED_KEY = "simulated"
"""What the SDK is given where no key is set: it sends no request without one."""
_START_WITHIN = 60.0
_STOP_WITHIN = 5.0
_COMMAND_STOPS_WITHIN = 45.0
"""What a `pipeline run` with the default drain budget needs at most."""
_SIGNALLED = 128
"""What shells add to the number of the signal that ended a command."""


class SimulatedApiProcess:
    """`python -m pipeline.local.simulated`, from `async with` to its end.

    Args:
        port: Where it listens; 0 for a free one, which it picks itself.
        faults: What goes wrong, as its option `--fault` takes it.
        options: Further options, as it takes them.
    """

    def __init__(
        self, *, port: int = 0, faults: Sequence[str] = (), options: Sequence[str] = ()
    ) -> None:
        self._command = [
            *(sys.executable, "-m", "pipeline.local.simulated", "--port", str(port)),
            *(option for fault in faults for option in ("--fault", fault)),
            *options,
        ]
        self.base_url = ""

    async def __aenter__(self) -> Self:
        """Start it and wait until it answers; `StartFailed` if it does not."""
        async with AsyncExitStack() as stack:
            directory = tempfile.TemporaryDirectory(prefix="haiku-pipeline-api-")
            child = Child(self._command, log=Path(stack.enter_context(directory), "api.log"))
            stack.push_async_callback(child.stop, _STOP_WITHIN)
            self.base_url = await child.until(_base_url, "The simulated API", within=_START_WITHIN)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()


def _base_url(output: str) -> str | None:
    lines = output.splitlines()
    printed = dict(line.split("=", 1) for line in lines if "=" in line)
    return printed["base_url"] if "ready" in lines else None


@dataclass(frozen=True, slots=True)
class Environment:
    broker: str  # name and version
    kafka: KafkaSettings  # that reach it
    variables: Mapping[str, str]  # that point the pipeline, and any client, at all of it

    @contextmanager
    def written(self, path: Path) -> Iterator[None]:
        """Keep the variables in a file that a shell reads with `. PATH`, in the body.

        Raises:
            UsageError: There can be no such file, or there is one.
        """
        lines = (f"export {name}={shlex.quote(value)}\n" for name, value in self.variables.items())
        try:
            # A key of the user's may be among them: the file is nobody else's.
            with open(path, "x", opener=partial(os.open, mode=0o600)) as file:
                file.writelines(lines)
        except OSError as error:
            raise UsageError(
                f"{path} cannot be written ({error.strerror}): remove it, or name another file."
            ) from error
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


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
    idle_fetch_pause: float = 0.5,
) -> AsyncIterator[Environment]:
    """Start everything, make the topics of all stages, and stop everything at the end.

    `broker` is `noida` or `kafka`; a port is 0 for a free one; `faults` and `api_options` are what
    `SimulatedApiProcess` takes. `idle_fetch_pause` is in seconds, between two fetches of a reader
    of the embedded broker that has nothing to read: a shorter one finds a record sooner, and costs
    more processor time while nothing happens.

    Raises:
        PipelineError: One of them could not be started.
    """
    if broker not in _BROKERS:
        raise UsageError(f"There is no broker {broker!r}; there are {', '.join(_BROKERS)}.")
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(_BROKERS[broker](kafka_port))
        names = TopicNames.under(settings)
        async with admin_client(running.settings) as admin:
            topics = Topics(admin, settings.topics, names=names, configs=running.topic_configs)
            await topics.create(names.of(settings.stages.by_name()))
        kafka = running.settings
        if kafka.idle_fetch_pause:
            kafka = kafka.model_copy(update={"idle_fetch_pause": idle_fetch_pause})
        variables = kafka_variables(kafka)
        if broker == "noida":
            variables["PIPELINE_STREAM__COMMIT_INTERVAL"] = str(_SELDOM_SECONDS)
        if with_api:
            api = await stack.enter_async_context(
                SimulatedApiProcess(port=api_port, faults=faults, options=api_options)
            )
            state = stack.enter_context(tempfile.TemporaryDirectory(prefix="haiku-pipeline-state-"))
            variables |= {
                BASE_URL: api.base_url,
                "PIPELINE_CLAUDE__CALL_TIMEOUT": str(PATIENCE_SECONDS),
                # What is simulated must count neither in a real budget nor as a real answer.
                "PIPELINE_CLAUDE__STATE_DIR": state,
            }
            if not os.environ.get(API_KEY):
                variables[API_KEY] = _SIMULATED_KEY
        yield Environment(running.name, kafka, variables)


def require_api(settings: Settings) -> None:
    """Raise `UsageError` where it can be seen that there is nobody to ask: no key, no address."""
    haiku = settings.models.haiku
    is_reached = haiku.provider != "anthropic" or haiku.key_file or haiku.base_url
    if not is_reached and not os.environ.get(API_KEY) and BASE_URL not in os.environ:
        raise UsageError(
            f"There is nobody to ask: set {API_KEY}, or say --simulated for a simulated API, "
            "whose answers say nothing about the models."
        )


@asynccontextmanager
async def simulated_api() -> AsyncIterator[None]:
    """Start the simulated API alone, and point the SDK in this process at it until the end."""
    async with SimulatedApiProcess() as api:
        # A real key has no business there.
        variables = {BASE_URL: api.base_url, API_KEY: _SIMULATED_KEY}
        before = {name: os.environ[name] for name in variables if name in os.environ}
        os.environ.update(variables)
        try:
            yield
        finally:
            for name in variables:
                del os.environ[name]
            os.environ.update(before)


async def serve(
    environment: AbstractAsyncContextManager[Environment],
    stop: asyncio.Event,
    show: Callable[[str], None],
    *,
    command: Sequence[str] = (),
    env_file: Path | None = None,
) -> int:
    """Run an environment until `stop` is set, or until `command` has ended, which runs in it.

    Without a command, shows what a shell has to evaluate, or in which `env_file` that is, then
    `ready`. Returns the command's exit code, as a shell has it; 0 without one.
    """
    # So that `pipeline` in the command is the program that runs it.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    if command and shutil.which(command[0], path=path) is None:
        raise UsageError(f"There is no command {command[0]!r}: name one on the path.")
    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(environment)
        if env_file is not None:
            stack.enter_context(here.written(env_file))
        if command:
            child = Child(command, log=None, env={**here.variables, "PATH": path})
            return await _until_ended(child, stop)
        if env_file is not None:
            show(f". {shlex.quote(str(env_file))}")
        else:
            for name, value in here.variables.items():
                show(f"export {name}={shlex.quote(value)}")
        show("ready")
        await stop.wait()
    return 0


async def _until_ended(child: Child, stop: asyncio.Event) -> int:
    # SIGTERM is meant for both. Ctrl-C on a terminal reaches the child without us, and a second
    # signal would have a `pipeline run` end without draining.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, child.send, signal.SIGTERM)
    ended = asyncio.create_task(child.wait())
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not ended.done() and not _has_terminal():
            child.send(signal.SIGTERM)
        code = await ended
    finally:
        ended.cancel()
        stopping.cancel()
        await child.stop(_COMMAND_STOPS_WITHIN)
    return code if code >= 0 else _SIGNALLED - code


def _has_terminal() -> bool:
    """Whether Ctrl-C reaches this process and its child alike, from the terminal itself."""
    try:
        with Path("/dev/tty").open("rb") as terminal:
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return False


def kafka_variables(kafka: KafkaSettings) -> dict[str, str]:
    """The environment variables that make these settings, as far as they were set.

    The protocol is always among them: what `pipeline.toml` says is meant for other brokers.
    """
    return dict(_variables("PIPELINE_KAFKA", kafka, kafka.model_fields_set | {"security_protocol"}))


def _variables(prefix: str, table: BaseModel, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    for name in sorted(names):
        variable = f"{prefix}__{name.upper()}"
        match getattr(table, name):
            case None:
                pass
            case BaseModel() as inner:
                yield from _variables(variable, inner, inner.model_fields_set)
            case SecretStr() as secret:
                yield variable, secret.get_secret_value()
            case dict() as items:
                yield variable, orjson.dumps(items).decode()
            case value:
                yield variable, str(value)
