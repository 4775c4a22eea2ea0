"""Several workers with one HTTP port in front: their metrics and their state as one.

Each worker serves its views on a Unix socket that only this machine sees. The supervisor reads
them every few seconds and shows what they add up to.

The metrics of all workers as one page: the same families, one more label.
"""

import asyncio
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

import pipeline
from pipeline.app import App, Running
from pipeline.config import Settings
from pipeline.kafka.brokers import delivery_in_force
from pipeline.observe import web
from pipeline.observe.dashboard import STEP_SECONDS, About, Health, Status, Views
from pipeline.observe.metrics import Conditions
from pipeline.runtime.background import background_task
from pipeline.runtime.shutdown import MARGIN
from pipeline.workers.supervisor import RestartPolicy, Supervisor, socket_path, subprocess_spawn


class Merged(Collector):
    """What the pages of all workers say, as a collector of its own.

    Args:
        pages: In the Prometheus text format, by the value of the label `worker` that tells them
            apart; read again each time.
    """

    def __init__(self, pages: Mapping[str, str]) -> None:
        self._pages = pages

    def collect(self) -> list[Metric]:
        """The families of all pages, each sample with its worker."""
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


SOCKET_VARIABLE = "HAIKU_PIPELINE_WORKER_SOCKET"
"""Tells a worker where to serve; not a setting, since nobody but the supervisor sets it."""
_INSTANCE_ID = "PIPELINE_KAFKA__GROUP_INSTANCE_ID"
_TO_END_BY_ITSELF = 5.0
"""Seconds that a worker has after its own deadline, and this process after its workers'."""
_ANSWER_WITHIN = 2.0


@dataclass(slots=True)
class Reports:
    """What the workers said last, by index as text; one that does not answer is not among them.

    Args:
        pages: Their metrics.
        states: What their `/api/status` says.
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
        """Why a worker is not ready, or None."""
        state = self.states.get(worker)
        if state is None:
            return "It does not answer; it may be starting."
        reasons = [each["reason"] for each in state["findings"] if each["reason"] is not None]
        # Some are sentences, some are parts of one.
        return "; ".join([*(reason.rstrip(".") for reason in reasons[:-1]), *reasons[-1:]]) or None

    def newest_first(self, most: int) -> Sequence[Mapping[str, Any]]:
        """The last records of all workers."""
        records = [record for state in self.states.values() for record in state["recent"]]
        return sorted(records, key=lambda record: str(record["at"]), reverse=True)[:most]

    def add_up(self, conditions: Conditions) -> None:
        """State in `conditions` what holds for any of the workers."""
        stages = [stage for state in self.states.values() for stage in state["stages"]]
        models = [model for state in self.states.values() for model in state["models"]]
        conditions.intake_closed = _reasons(stages, "intake_closed_because")
        conditions.stuck = _reasons(stages, "stuck_because")
        conditions.blocked = _reasons(models, "blocked_because")
        conditions.breakers = _reasons(sorted(models, key=_is_broken), "breaker")
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
    """Run the pipeline until `stop` is set and all has drained.

    Args:
        settings: The whole tree.
        stages: Whose consumers run.
        stop: Set it to end cleanly.
        workers: Processes; one needs no supervisor.
        announce: Told once the port is open.

    Returns:
        The exit code: 0 where all ended well.

    Raises:
        PipelineError: The brokers cannot be reached, or the port is taken.
    """
    if workers > 1:
        return await run_fleet(settings, stages, workers, stop, announce=announce)
    supervised = os.environ.get(SOCKET_VARIABLE)
    app = App(settings, stages, socket=Path(supervised) if supervised else None)
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
    """Run several workers until `stop` is set and all have drained.

    Returns:
        The exit code: 0 where all ended well.

    Raises:
        PipelineError: The brokers cannot be reached, or the port is taken.
    """
    delivery = await delivery_in_force(settings)
    with tempfile.TemporaryDirectory(prefix="haiku-pipeline-workers-") as directory:
        sockets = [socket_path(Path(directory), index) for index in range(workers)]

        def environment(index: int) -> Mapping[str, str]:
            found = {**os.environ, SOCKET_VARIABLE: str(sockets[index])}
            if settings.kafka.group_instance_id is not None:
                # Static members must differ, and be the same again after a restart.
                found[_INSTANCE_ID] = f"{settings.kafka.group_instance_id}-{index}"
            return found

        supervisor = Supervisor(
            subprocess_spawn(["run", *stages], environment),
            workers,
            policy=RestartPolicy(),
            stop_within=ends_within(settings, workers=1) + _TO_END_BY_ITSELF,
            clock=time.monotonic,
        )
        about = About(pipeline.__version__, delivery.mode, tuple(stages))
        reports, conditions = Reports(), Conditions()
        async with (
            web.serve(
                settings.http,
                _views(about, reports, conditions, workers, settings.http.recent_records),
                failed=stop.set,
            ) as address,
            background_task(_read_on(sockets, reports, conditions), ended=stop.set),
        ):
            announce(Running(address, delivery.mode, delivery.because))
            return await supervisor.run(stop)


def _views(
    about: About, reports: Reports, conditions: Conditions, workers: int, recent_limit: int
) -> Views:
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
    )
    return Views(merged, health, status)


async def _read_on(sockets: Sequence[Path], reports: Reports, conditions: Conditions) -> None:
    while True:
        await asyncio.gather(
            *(reports.read(str(index), path) for index, path in enumerate(sockets))
        )
        reports.add_up(conditions)
        await asyncio.sleep(STEP_SECONDS)


def _is_broken(model: Mapping[str, Any]) -> bool:
    return bool(model["breaker"] == "open")


def _reasons(items: Iterable[Mapping[str, Any]], field_name: str) -> dict[str, str]:
    """The reasons by name; where several workers have one, the last."""
    return {item["name"]: item[field_name] for item in items if item[field_name] is not None}
