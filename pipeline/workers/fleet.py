"""Several worker processes with one HTTP port in front: their metrics and their state as one.

A supervisor runs N processes of the same command, restarts those that end, and drains all on one
signal. Each worker serves its views on a Unix socket that only this machine sees; they are read
every few seconds, and what they add up to is shown.
"""

import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import orjson
import structlog
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

import pipeline
from pipeline.claude.billing import otherwise_of
from pipeline.config import Settings, load_settings
from pipeline.config.live import settings_changes
from pipeline.kafka.brokers import delivery_in_force
from pipeline.observe import web
from pipeline.observe.dashboard import (
    STEP_SECONDS,
    About,
    Health,
    Running,
    Status,
    Views,
    desk_address,
)
from pipeline.observe.metrics import Conditions
from pipeline.runtime.process import MARGIN, background_task, dies_with_parent
from pipeline.stages.files.decoding import decoders_of_this_process

WRONG_USE = 2
SOCKET_VARIABLE = "HAIKU_PIPELINE_WORKER_SOCKET"
"""The socket where a worker is to serve; no setting, since only the supervisor sets it."""
_INSTANCE_ID = "PIPELINE_KAFKA__GROUP_INSTANCE_ID"
_TO_END_BY_ITSELF = 5.0
"""Seconds that a worker has after its own deadline, and this process after its workers'."""
_ANSWER_WITHIN = 2.0
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """Exponential backoff from `first` to `longest` seconds between restarts.

    After `healthy_after` seconds of life an end counts as the first again.
    """

    first: float = 0.5
    longest: float = 30.0
    healthy_after: float = 60.0

    def after_end(self, early_ends: int, *, lived: float) -> tuple[int, float]:
        """How many early ends in a row there are now, and seconds to wait."""
        if lived >= self.healthy_after:
            return 1, self.first
        # The exponent is capped only so that it stays a number: the delay is capped below.
        return early_ends + 1, min(self.first * 2.0 ** min(early_ends, 60), self.longest)


class Process(Protocol):
    """A running worker; `asyncio.subprocess.Process` is one."""

    @property
    def pid(self) -> int: ...

    async def wait(self) -> int:
        """Wait for its end and return its exit code, negative for a signal."""
        ...

    def send_signal(self, signal: int) -> None: ...


@dataclass(eq=False)
class Supervisor:
    """Keeps workers running until it is asked to stop; `spawn` starts the one with that index.

    Each gets `stop_within` seconds between SIGTERM and SIGKILL: more than its drain budget.
    """

    spawn: Callable[[int], Awaitable[Process]]
    workers: int
    _: KW_ONLY
    policy: RestartPolicy
    stop_within: float
    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def run(self, stop: asyncio.Event) -> int:
        """Run until `stop` is set and every worker has ended.

        Returns:
            The exit code: 0 where all drained, else the worst of theirs. A worker that ends
            because it is used wrongly would do so again: all stop, and its code is returned.
        """
        async with asyncio.TaskGroup() as group:
            slots = [
                group.create_task(self._keep(index, stop), name=f"worker-{index}")
                for index in range(self.workers)
            ]
        codes = {slot.result() for slot in slots}
        if WRONG_USE in codes:
            return WRONG_USE
        return 1 if codes != {0} else 0

    async def _keep(self, index: int, stop: asyncio.Event) -> int:
        early_ends = code = 0
        while not stop.is_set():
            started = self.clock()
            code = await self._one_life(index, stop)
            if code == WRONG_USE:
                stop.set()
            if stop.is_set():
                break
            lived = self.clock() - started
            early_ends, delay = self.policy.after_end(early_ends, lived=lived)
            log.warning("worker_ended", worker=index, exit_code=code, restart_in_seconds=delay)
            await _either(stop.wait(), self.sleep(delay))
        return code

    async def _one_life(self, index: int, stop: asyncio.Event) -> int:
        """Start a worker and return its exit code; where it cannot be started, 1."""
        try:
            process = await self.spawn(index)
        except OSError as error:
            # No memory or no process left, say. The others go on, and it is tried again.
            log.error("worker_not_started", worker=index, because=str(error))  # noqa: TRY400
            return 1
        log.info("worker_started", worker=index, pid=process.pid)
        ending = asyncio.ensure_future(process.wait())
        try:
            await _either(asyncio.shield(ending), stop.wait())
            if not ending.done():
                _send(process, signal.SIGTERM)
                await asyncio.wait([ending], timeout=self.stop_within)
            if not ending.done():
                log.error("worker_killed", pid=process.pid, after_seconds=self.stop_within)
                _send(process, signal.SIGKILL)
            return await ending
        except asyncio.CancelledError:
            _send(process, signal.SIGKILL)
            await ending
            raise


def _send(process: Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # it ended in this very moment
        process.send_signal(number)


async def _either(*awaitables: Awaitable[object]) -> None:
    """Wait for the first of them; the others are cancelled."""
    tasks = [asyncio.ensure_future(awaitable) for awaitable in awaitables]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Merged(Collector):
    """The metrics of all workers as one page: the same families, with the label `worker`.

    `pages`, by worker, are read again each time.
    """

    def __init__(self, pages: Mapping[str, str]) -> None:
        self._pages = pages

    def collect(self) -> list[Metric]:
        families: dict[str, Metric] = {}
        for worker, page in self._pages.items():
            for family in text_string_to_metric_families(page):
                merged = families.setdefault(
                    family.name, Metric(family.name, family.documentation, family.type)
                )
                for sample in family.samples:
                    merged.samples.append(
                        sample._replace(labels={**sample.labels, "worker": worker})
                    )
        return list(families.values())


@dataclass(slots=True)
class Reports:
    """What the workers reported last, by index as text; without those that do not answer.

    `pages` are their metrics, `states` what their `/api/status` says.
    """

    pages: dict[str, str] = field(default_factory=dict)
    states: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    async def read(self, worker: str, socket: Path) -> None:
        """Ask a worker; one that does not answer, or with an error, is not among them."""
        timeout = aiohttp.ClientTimeout(total=_ANSWER_WITHIN)
        connector = aiohttp.UnixConnector(str(socket))
        try:
            async with aiohttp.ClientSession(
                "http://worker", connector=connector, timeout=timeout, raise_for_status=True
            ) as session:
                async with session.get("/metrics") as answer:
                    page = await answer.text()
                async with session.get("/api/status") as answer:
                    state = orjson.loads(await answer.read())
        except (aiohttp.ClientError, OSError, TimeoutError, orjson.JSONDecodeError):
            self.pages.pop(worker, None)
            self.states.pop(worker, None)
        else:
            self.pages[worker] = page
            self.states[worker] = state

    def why_not_ready(self, worker: str) -> str | None:
        state = self.states.get(worker)
        if state is None:
            return "It does not answer; it may be starting."
        reasons = [each["reason"] for each in state["findings"] if each["reason"] is not None]
        # Some are sentences, some are parts of one.
        return "; ".join([*(reason.rstrip(".") for reason in reasons[:-1]), *reasons[-1:]]) or None

    def newest_first(self, most: int) -> Sequence[Mapping[str, Any]]:
        records = [record for state in self.states.values() for record in state["recent"]]
        return sorted(records, key=lambda record: str(record["at"]), reverse=True)[:most]

    def add_up(self, conditions: Conditions) -> None:
        """State in `conditions` what holds for any of the workers."""
        stages = [stage for state in self.states.values() for stage in state["stages"]]
        models = [model for state in self.states.values() for model in state["models"]]
        conditions.intake_closed = _reasons(stages, "intake_closed_because")
        conditions.stuck = _reasons(stages, "stuck_because")
        certificates = [
            {"name": stage["name"], **stage["certificate"]}
            for stage in stages
            if stage.get("certificate")
        ]
        conditions.stale = _reasons(certificates, "stale_because")
        conditions.alarms = _reasons(certificates, "alarm")
        conditions.blocked = _reasons(models, "blocked_because")
        # The state that is shown of a model is the worst of any worker.
        models.sort(key=lambda model: bool(model["breaker"] == "open"))
        conditions.breakers = _reasons(models, "breaker")
        conditions.simulated = any(state["simulated"] for state in self.states.values())
        conditions.assigned = {}
        for stage in stages:
            if stage["partitions"] is not None:
                known = conditions.assigned.get(stage["name"], 0)
                conditions.assigned[stage["name"]] = known + stage["partitions"]


async def serve(
    settings: Settings,
    stages: Sequence[str],
    stop: asyncio.Event,
    *,
    workers: int,
    announce: Callable[[Running], None],
) -> int:
    """Run the pipeline until `stop` is set and all has drained; returns the exit code.

    `announce` is called once the port is open.

    Raises:
        PipelineError: The brokers cannot be reached, or the port is taken.
    """
    if workers > 1:
        return await run_fleet(settings, stages, workers, stop, announce=announce)
    # What a supervisor does without: seconds, and the memory of Anthropic's SDK.
    from pipeline.app import App  # noqa: PLC0415

    supervised = os.environ.get(SOCKET_VARIABLE)
    socket = Path(supervised) if supervised else None
    app = App(settings, stages, socket=socket, changes=settings_changes(settings, load_settings))
    await app.run(stop, announce=None if supervised else announce)
    return 0


def ends_within(settings: Settings, workers: int) -> float:
    """Seconds in which the process ends once it is asked to, whatever its threads do."""
    alone = settings.stream.drain_budget + MARGIN
    return alone if workers == 1 else alone + 2 * _TO_END_BY_ITSELF


async def run_fleet(
    settings: Settings,
    stages: Sequence[str],
    workers: int,
    stop: asyncio.Event,
    *,
    announce: Callable[[Running], None],
) -> int:
    """What `serve` does with several workers."""
    delivery = await delivery_in_force(settings)
    with tempfile.TemporaryDirectory(prefix="haiku-pipeline-workers-") as directory:
        sockets = [Path(directory, f"worker-{index}.sock") for index in range(workers)]

        async def spawn(index: int) -> Process:
            environment = {**os.environ, SOCKET_VARIABLE: str(sockets[index])}
            if settings.kafka.group_instance_id is not None:
                # Static members must differ, and be the same again after a restart.
                environment[_INSTANCE_ID] = f"{settings.kafka.group_instance_id}-{index}"
            command = [sys.executable, "-m", "pipeline.cli", "run", *stages]
            # Ctrl-C on a terminal is for the supervisor: a worker would take it for a second one.
            return await asyncio.create_subprocess_exec(
                *dies_with_parent(command, when_parent_dies=signal.SIGTERM),
                env=environment,
                start_new_session=True,
            )

        supervisor = Supervisor(
            spawn,
            workers,
            policy=RestartPolicy(),
            stop_within=ends_within(settings, workers=1) + _TO_END_BY_ITSELF,
            clock=time.monotonic,
        )
        desk = desk_address(settings)
        about = About(pipeline.__version__, delivery.mode, tuple(stages), desk)
        reports, conditions = Reports(), Conditions()
        async with (
            web.serve(
                settings.http,
                _views(about, reports, conditions, workers, settings),
                failed=stop.set,
            ) as address,
            background_task(_read_on(sockets, reports, conditions), ended=stop.set),
            _desk(settings, failed=stop.set),
        ):
            announce(Running(address, delivery.mode, delivery.because))
            return await supervisor.run(stop)


@asynccontextmanager
async def _desk(settings: Settings, *, failed: Callable[[], object]) -> AsyncIterator[None]:
    """The desk of all workers, where it is switched on: here, since no two can have its port."""
    if not settings.desk.enabled:
        yield
        return
    from pipeline.desk.server import serve as serve_desk  # noqa: PLC0415 - few have it

    with decoders_of_this_process.limited(settings.files):
        async with serve_desk(settings, failed=failed) as address:
            log.info("desk", address=address)
            yield


def _views(
    about: About, reports: Reports, conditions: Conditions, workers: int, settings: Settings
) -> Views:
    recent_limit = settings.http.recent_records
    health, merged = Health(), Merged(reports.pages)
    for index in range(workers):
        health.add_readiness(f"worker {index}", partial(reports.why_not_ready, str(index)))
    status = Status(
        about,
        merged,
        conditions,
        health,
        recent=partial(reports.newest_first, recent_limit),
        recent_limit=recent_limit,
        otherwise=otherwise_of(settings),
    )
    return Views(merged, health, status)


async def _read_on(sockets: Sequence[Path], reports: Reports, conditions: Conditions) -> None:
    while True:
        await asyncio.gather(
            *(reports.read(str(index), path) for index, path in enumerate(sockets))
        )
        reports.add_up(conditions)
        await asyncio.sleep(STEP_SECONDS)


def _reasons(items: Iterable[Mapping[str, Any]], field_name: str) -> dict[str, str]:
    """The reasons by name; where several workers have one, the last."""
    return {item["name"]: item[field_name] for item in items if item[field_name] is not None}
