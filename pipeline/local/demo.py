"""A day of events through the whole pipeline on this machine alone, every event accounted for.

The pipeline that is shown is the one that anyone runs: a child process `pipeline run`, pointed by
environment variables at the embedded broker and, unless the real one was asked for, at the
simulated API. The demo is a publisher and a consumer beside it, like any other.
"""

import asyncio
import contextlib
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import orjson

from pipeline.claude.billing import PriceTable
from pipeline.config import Settings
from pipeline.kafka.reader import read_topics
from pipeline.kafka.topics import ESCALATIONS, TopicNames
from pipeline.kafka.writer import Writer
from pipeline.local.accounting import Coordinates, account, alternatives, ending_of, source_of
from pipeline.local.broker import is_free
from pipeline.local.child import Child
from pipeline.local.day import DayEvent, day_of_events, samples_folder
from pipeline.local.environment import API_KEY, BASE_URL, Environment, local_environment
from pipeline.local.screen import Screen, Summary
from pipeline.model.errors import UsageError
from pipeline.model.records import Usage
from pipeline.operators.inspection import text_of
from pipeline.stages.api import build_stages
from pipeline.stream.records import Outgoing, Received

RUN = (sys.executable, "-m", "pipeline.cli", "run", "--json")
_A_SECOND = 40
"""Events that are published in a second."""
_PARTITIONS = 2
"""The embedded broker commits 500 times a minute, each for one partition of a topic."""
_UP_WITHIN = 60.0
_POLL = 0.05
_PIPELINE_PAUSES, _FOLLOWER_PAUSES = 0.03, 0.1
"""Seconds between fetches that bring nothing: the processor time belongs to the pipeline."""


async def demo(
    settings: Settings,
    screen: Screen,
    *,
    real: bool = False,
    share: float = 1.0,
    command: Sequence[str] = RUN,
    patience: float = 120.0,
    linger: Callable[[Summary], Awaitable[object]] | None = None,
) -> Summary:
    """Show a `share` of the day, with the real API if `real`.

    `command` is the pipeline, and says in JSON when it is up. It has failed after `patience`
    seconds without any event coming to an end. `linger` is awaited with the summary once it is
    made, while everything goes on.

    Raises:
        PipelineError: Something could not be started.
    """
    if real and not os.environ.get(API_KEY):
        raise UsageError(f"The real API needs a key: set {API_KEY}, or leave --real out.")
    events = day_of_events(samples_folder(), share=share)
    published = {event.stage for event in events}
    stages = [name for name in build_stages(settings.stages) if name in published]
    screen.plan(events, stages)
    topics = settings.topics.model_copy(update={"partitions": _PARTITIONS})
    settings = settings.model_copy(update={"topics": topics})
    async with local_environment(
        settings, with_api=not real, idle_fetch_pause=_PIPELINE_PAUSES
    ) as here:
        if "sample_share" not in settings.trust.model_fields_set:
            # One day has few answers: of a hundredth of them nobody could label twenty.
            drawn = {"PIPELINE_TRUST__SAMPLE_SHARE": "1"}
            here = replace(here, variables={**here.variables, **drawn})  # noqa: PLW2901
        api = here.variables.get(BASE_URL)
        asked = f"simulated API at {api}" if api else "the real API"
        where = f"{here.broker} at {here.kafka.bootstrap_servers}, {asked}"
        screen.say(f"A day of {len(events)} events: {where}")
        settings = settings.model_copy(update={"kafka": here.kafka})
        job = _Job(settings, stages, events, screen)
        clock = asyncio.get_running_loop().time
        async with _pipeline((*command, *stages, ESCALATIONS), settings, here) as (child, up):
            screen.say(f"The dashboard is at {up['dashboard']}")
            started = clock()
            problem = await job.publish_and_wait(child, patience)
            seconds = clock() - started
            records = Path(tempfile.mkdtemp(prefix="haiku-pipeline-day-"))
            if linger is not None:
                with here.written(records / "env"):
                    await linger(await job.audit(records, up, seconds, problem))
        # After the pipeline has drained: nothing may have come twice on the way out.
        return await job.audit(records, up, seconds, problem)


class _Job:
    def __init__(
        self, settings: Settings, stages: Sequence[str], events: Sequence[DayEvent], screen: Screen
    ) -> None:
        self._settings = settings
        self._names = names = TopicNames.under(settings)
        self._stage_of = {names.raw(stage): stage for stage in stages}
        self._followed = [names.enriched(stage) for stage in stages]
        self._followed += [names.review, names.dead_letters, names.escalations]
        self._events = events
        self._screen = screen
        self._ended: set[Coordinates] = set()

    async def publish_and_wait(self, child: Child, patience: float) -> str | None:
        """Publish all events and wait for their ends; say what is wrong if they do not come."""
        clock = asyncio.get_running_loop().time
        tasks = {
            asyncio.create_task(self._follow(), name="follow"),
            publishing := asyncio.create_task(self._publish(), name="publish"),
        }
        try:
            before, moved = 0, clock()
            while len(self._ended) < len(self._events):
                for task in tasks:
                    if task.done():
                        await task
                if not child.running:
                    return f"the pipeline ended: {child.last_words()}"
                if len(self._ended) > before or not publishing.done():
                    before, moved = len(self._ended), clock()
                if clock() - moved > patience:
                    left = len(self._events) - len(self._ended)
                    return f"{left} events came to no end, and nothing moved for {patience:g} s"
                self._screen.tick()
                await asyncio.sleep(_POLL)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return None

    async def audit(
        self, kept_in: Path, up: Mapping[str, str], seconds: float, problem: str | None
    ) -> Summary:
        """Read everything from the beginning, as any consumer would, and account for it.

        What the pipeline published is kept in a folder, a file for each topic.
        """
        names, stage_of = self._names, self._stage_of
        kind_of = {
            (names.raw(event.stage), event.item.key, event.item.value): event.kind
            for event in self._events
        }
        kinds, published, endings = {}, {}, []
        escalated: dict[Coordinates, Usage] = {}
        with contextlib.ExitStack() as files:
            kept = {
                topic: files.enter_context((kept_in / f"{topic}.jsonl").open("w"))
                for topic in self._followed
            }
            topics = [*stage_of, *kept]
            async with read_topics(self._settings.kafka, topics) as records:
                async for record in records:
                    if record.topic in stage_of:
                        place = Coordinates(record.topic, record.partition, record.offset)
                        published[place] = stage_of[record.topic]
                        content = (record.topic, record.key, record.value or b"")
                        kinds[place] = kind_of.get(content, "")
                        continue
                    kept[record.topic].write(text_of(record) + "\n")
                    if record.topic == names.escalations:
                        escalated.update([_first_answer(record)])
                    else:
                        endings.append(ending_of(record, names))
        found = account(published, endings, stage_of.values(), kinds=kinds, escalated=escalated)
        models, prices = self._settings.models, PriceTable(self._settings.claude.prices)
        haiku, sonnet = models.haiku.model, models.sonnet.model
        return Summary(
            account=found,
            otherwise=alternatives(found.first, prices, haiku=haiku, sonnet=sonnet),
            delivery=up["delivery"],
            seconds=seconds,
            dashboard=up["dashboard"],
            records=kept_in,
            problem=problem,
        )

    async def _publish(self) -> None:
        limit = self._settings.topics.max_message_bytes
        clock = asyncio.get_running_loop().time
        async with Writer(self._settings.kafka, max_record_bytes=limit) as writer:
            started = clock()
            for number, event in enumerate(self._events):
                await asyncio.sleep(max(0.0, started + number / _A_SECOND - clock()))
                item, topic = event.item, self._names.raw(event.stage)
                await writer.write(Outgoing(topic, item.key, item.value, item.headers))
                self._screen.published()

    async def _follow(self) -> None:
        pause = {"idle_fetch_pause": _FOLLOWER_PAUSES}
        kafka = self._settings.kafka.model_copy(update=pause)
        async with read_topics(kafka, self._followed, end="never") as records:
            async for record in records:
                if record.topic == self._names.escalations:
                    self._screen.escalated(*_first_answer(record))
                    continue
                ending = ending_of(record, self._names)
                if ending.event not in self._ended and ending.event.topic in self._stage_of:
                    self._ended.add(ending.event)
                    self._screen.ended(self._stage_of[ending.event.topic], ending, record)


def _first_answer(escalation: Received) -> tuple[Coordinates, Usage]:
    """Which event was escalated, and what its first answer used."""
    value = orjson.loads(escalation.value or b"")
    return source_of(value), Usage.model_validate(value["usage"])


@contextlib.asynccontextmanager
async def _pipeline(
    command: Sequence[str], settings: Settings, here: Environment
) -> AsyncIterator[tuple[Child, Mapping[str, str]]]:
    """A child `pipeline run` that is up, and what it says of itself: `dashboard`, `delivery`."""
    port = settings.http.port if is_free(settings.http.host, settings.http.port) else 0
    variables = {**here.variables, "PIPELINE_HTTP__PORT": str(port)}
    with tempfile.TemporaryDirectory(prefix="haiku-pipeline-demo-") as directory:
        # In the user's directory, where their pipeline.toml is.
        child = Child(command, log=Path(directory) / "run.log", cwd=Path.cwd(), env=variables)
        try:
            yield child, await child.until(_up, "The pipeline", within=_UP_WITHIN)
        finally:
            await child.stop(settings.stream.drain_budget + 10)


def _up(output: str) -> Mapping[str, str] | None:
    """What `pipeline run --json` says of itself once it is up."""
    lines = (line for line in output.splitlines() if line.startswith('{"dashboard":'))
    return next((orjson.loads(line) for line in lines), None)
