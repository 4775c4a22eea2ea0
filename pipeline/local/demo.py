"""The main job on this machine alone: samples in, enriched records out, every event accounted for.

The pipeline that is shown is the one that anybody runs: a child process `pipeline run`, pointed by
environment variables at the embedded broker and, unless the real one was asked for, at the
simulated API. The demo is a publisher and a consumer beside it, like any other.

The demo on a terminal: progress while it runs, a table at the end, or JSON for a program.
"""

import asyncio
import contextlib
import os
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from pipeline.config import Settings
from pipeline.kafka.reader import read_topics
from pipeline.kafka.topics import ESCALATIONS, TopicNames
from pipeline.kafka.writer import Writer
from pipeline.local.accounting import Account, Coordinates, account
from pipeline.local.broker import is_free
from pipeline.local.child import Child, last_lines
from pipeline.local.environment import API_KEY, BASE_URL, Environment, local_environment
from pipeline.local.samples import Sample, items_of, read_manifest, samples_folder
from pipeline.local.summary import HEADINGS, Summary, ending_of
from pipeline.model.errors import PipelineError, UsageError
from pipeline.runtime import console
from pipeline.stages.api import build_stages
from pipeline.stream.records import Outgoing, Received

RUN = (sys.executable, "-m", "pipeline.cli", "run", "--json")
_UP_WITHIN = 60.0
_POLL = 0.05
_IDLE_PAUSE = 0.3


class DemoFailed(PipelineError):
    """The demo could not be shown; the text says why."""


@dataclass(slots=True)
class Show:
    """What the demo tells while it runs.

    Args:
        say: A sentence.
        published: Events of a stage were published.
        ended: An event of a stage ended, and the record that says so.
    """

    say: Callable[[str], None] = lambda _: None
    published: Callable[[str, int], None] = lambda _, __: None
    ended: Callable[[str, Received], None] = lambda _, __: None


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A running `pipeline run`.

    Args:
        dashboard: Its address.
        delivery: The guarantee in force.
        child: The process.
    """

    dashboard: str
    delivery: str
    child: Child


async def demo(
    settings: Settings,
    show: Show,
    *,
    real: bool = False,
    command: Sequence[str] = RUN,
    patience: float = 120.0,
    linger: Callable[[Summary], asyncio.Event] | None = None,
) -> Summary:
    """Show it.

    Args:
        settings: The user's own.
        show: Told what happens.
        real: Ask the real API.
        command: The pipeline, as a command that says in JSON when it is up.
        patience: Seconds without any event coming to an end after which it has failed.
        linger: Called with the summary once it is made; all goes on until its event is set.

    Raises:
        PipelineError: Something could not be started.
    """
    if real and not os.environ.get(API_KEY):
        raise UsageError(f"The real API needs a key: set {API_KEY}, or leave --real out.")
    folder = samples_folder()
    samples = read_manifest(folder)
    with_samples = {sample.stage for sample in samples}
    stages = [name for name in build_stages(settings.stages) if name in with_samples]
    async with local_environment(settings, with_api=not real) as here:
        show.say(f"{here.broker} at {here.kafka.bootstrap_servers}, {_api(here)}")
        job = _Job(settings.model_copy(update={"kafka": here.kafka}), stages, show)
        clock = asyncio.get_running_loop().time
        command = (*command, *stages, ESCALATIONS)
        async with _pipeline(command, job.settings, here.variables) as starting:
            started = clock()
            total = await job.publish(folder, samples)
            running = await starting
            show.say(f"The dashboard is at {running.dashboard}")
            problem = await job.wait_for_ends(total, running.child, patience)
            seconds = clock() - started
            if linger is not None:
                found = await job.audit()
                summary = Summary(found, running.delivery, seconds, running.dashboard, problem)
                await linger(summary).wait()
        # Once more after the pipeline has drained: nothing may have come twice on the way out.
        found = await job.audit()
    return Summary(found, running.delivery, seconds, running.dashboard, problem)


class _Job:
    """The demo as a publisher and a consumer."""

    def __init__(self, settings: Settings, stages: Sequence[str], show: Show) -> None:
        self.settings = settings
        self._names = TopicNames(settings.topics)
        self._stage_of = {self._names.raw(stage): stage for stage in stages}
        self._ends = [self._names.enriched(stage) for stage in stages]
        self._ends += [self._names.review, self._names.dead_letters]
        self._show = show

    async def publish(self, folder: Path, samples: Sequence[Sample]) -> int:
        """Publish the samples, and say how many there were."""
        limit = self.settings.topics.max_message_bytes
        async with Writer(self.settings.kafka, max_record_bytes=limit) as writer:
            for sample in samples:
                topic = self._names.raw(sample.stage)
                for item in items_of(folder, sample):
                    await writer.write(Outgoing(topic, item.key, item.value, item.headers))
                self._show.published(sample.stage, sample.count)
        return sum(sample.count for sample in samples)

    async def wait_for_ends(self, total: int, child: Child, patience: float) -> str | None:
        """Wait until so many events have an end; say what is wrong if that does not come about."""
        clock = asyncio.get_running_loop().time
        ended: set[Coordinates] = set()
        following = asyncio.create_task(self._follow(ended), name="follow")
        try:
            before, moved = 0, clock()
            while len(ended) < total:
                if following.done():
                    await following
                if not child.running:
                    return f"the pipeline ended: {_said(child)}"
                if len(ended) > before:
                    before, moved = len(ended), clock()
                if clock() - moved > patience:
                    left = total - len(ended)
                    return f"{left} events came to no end, and nothing moved for {patience:g} s"
                await asyncio.sleep(_POLL)
        finally:
            following.cancel()
            await asyncio.wait([following])
        return None

    async def audit(self) -> Account:
        """Read everything from the beginning, as any consumer would, and account for it."""
        async with read_topics(self.settings.kafka, list(self._stage_of)) as records:
            published = {
                Coordinates(record.topic, record.partition, record.offset): self._stage_of[
                    record.topic
                ]
                async for record in records
            }
        async with read_topics(self.settings.kafka, self._ends) as records:
            endings = [ending_of(record, self._names) async for record in records]
        return account(published, endings, list(self._stage_of.values()))

    async def _follow(self, ended: set[Coordinates]) -> None:
        kafka = self.settings.kafka
        if kafka.idle_fetch_pause:
            # Nobody waits for the bars: the processor time belongs to the pipeline.
            kafka = kafka.model_copy(update={"idle_fetch_pause": _IDLE_PAUSE})
        async with read_topics(kafka, self._ends, end="never") as records:
            async for record in records:
                event = ending_of(record, self._names).event
                if event not in ended and event.topic in self._stage_of:
                    ended.add(event)
                    self._show.ended(self._stage_of[event.topic], record)


@contextlib.asynccontextmanager
async def _pipeline(
    command: Sequence[str], settings: Settings, variables: Mapping[str, str]
) -> AsyncIterator["asyncio.Task[Pipeline]"]:
    """A child `pipeline run`, started at once; the task ends when it is up."""
    port = settings.http.port if is_free(settings.http.host, settings.http.port) else 0
    with tempfile.TemporaryDirectory(prefix="haiku-pipeline-demo-") as directory:
        environment = {**variables, "PIPELINE_HTTP__PORT": str(port)}
        if BASE_URL in variables:
            # What is simulated must count neither in a real budget nor as a real answer.
            environment["PIPELINE_CLAUDE__STATE_DIR"] = directory
        log = Path(directory) / "run.log"
        # In the user's directory, where their pipeline.toml is.
        child = Child(command, log=log, cwd=Path.cwd(), env=environment)
        starting = asyncio.create_task(_until_up(child), name="pipeline-run")
        try:
            yield starting
        finally:
            starting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(starting, return_exceptions=True)
            await child.stop(settings.stream.drain_budget + 10)


async def _until_up(child: Child) -> Pipeline:
    try:
        async with asyncio.timeout(_UP_WITHIN):
            while True:
                for line in child.output().splitlines():
                    if line.startswith('{"dashboard":'):
                        told = orjson.loads(line)
                        return Pipeline(told["dashboard"], told["delivery"], child)
                if not child.running:
                    raise DemoFailed(f"The pipeline did not start: {_said(child)}")
                await asyncio.sleep(_POLL)
    except TimeoutError:
        raise DemoFailed(f"The pipeline is not up after {_UP_WITHIN:g} s: {_said(child)}") from None


def _api(here: Environment) -> str:
    simulated = here.variables.get(BASE_URL)
    return f"simulated API at {simulated}" if simulated else "the real API"


def _said(child: Child) -> str:
    return last_lines(child.output()) or "it printed nothing"


async def present(
    settings: Settings, stop: asyncio.Event, *, real: bool, keep: bool, json: bool
) -> Summary:
    """Show the demo and print what it came to.

    Args:
        settings: The user's own.
        stop: Set by whoever wants it to end.
        real: Ask the real API.
        keep: Keep all of it running after the summary, until `stop`.
        json: Print one JSON object, and nothing else, on standard output.

    Raises:
        PipelineError: Something could not be started.
        Interrupted: It was stopped before there was a summary.
    """
    stage_bars = _Bars()

    def linger(summary: Summary) -> asyncio.Event:
        stage_bars.close()
        _print(summary, stage_bars.examples, json=json)
        console.note(f"All of it goes on, the dashboard at {summary.dashboard}: Ctrl-C ends it.")
        return stop

    with stage_bars:
        working = asyncio.create_task(
            demo(settings, stage_bars.show, real=real, linger=linger if keep else None)
        )
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not working.done() and not keep:
            working.cancel()
            await asyncio.wait([working])
            raise console.Interrupted("Stopped before the demo was done.")
        summary = await working
    if not keep:
        _print(summary, stage_bars.examples, json=json)
    return summary


class _Bars:
    """A progress bar for each stage; a few sentences where there is no terminal."""

    def __init__(self) -> None:
        terminal = Console(stderr=True, highlight=False)
        columns = (TextColumn("{task.description:<10}"), BarColumn(), MofNCompleteColumn())
        self._progress = Progress(
            *columns,
            TextColumn("{task.fields[decided]}"),
            console=terminal,
            disable=not terminal.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._decided: dict[str, Counter[str]] = {}
        self.examples: dict[str, dict[str, Any]] = {}
        self.show = Show(self._say, self._published, self._ended)

    def __enter__(self) -> "_Bars":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the bars as they are."""
        self._progress.stop()

    def _say(self, sentence: str) -> None:
        self._progress.console.print(sentence, markup=False)

    def _published(self, stage: str, count: int) -> None:
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(stage, total=0, decided="")
            self._decided[stage] = Counter()
        total = self._progress.tasks[self._tasks[stage]].total or 0
        self._progress.update(self._tasks[stage], total=total + count)

    def _ended(self, stage: str, record: Received) -> None:
        place = record.topic.rsplit(".", 1)[-1]
        if place == "enriched":
            value = orjson.loads(record.value or b"")
            place = value["decided_by"]
            self.examples.setdefault(stage, value)
        counter = self._decided[stage]
        counter[place] += 1
        decided = ", ".join(f"{count} {what}" for what, count in sorted(counter.items()))
        self._progress.update(self._tasks[stage], advance=1, decided=decided)


def _print(summary: Summary, examples: dict[str, dict[str, Any]], *, json: bool) -> None:
    if json:
        console.as_json(summary.as_json())
        return
    for stage, value in examples.items():
        result = orjson.dumps(value["result"]).decode()
        console.line(f"{stage}, {value['event_id']}, by {value['model']}: {result}")
    console.table(HEADINGS, summary.rows())
    for sentence in summary.sentences():
        console.line(sentence)
