"""What to do next, by what is found here: settings, brokers, topics, what runs, what waits."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import aiohttp

from pipeline.config import Settings
from pipeline.kafka.connection import check_connection
from pipeline.kafka.reader import read_latest
from pipeline.kafka.topics import TopicNames
from pipeline.model.errors import PipelineError
from pipeline.operators.handled import read_handled
from pipeline.operators.inspection import describe
from pipeline.operators.selection import topic_reader

_BROKERS_WITHIN = 4.0
_PAGE_WITHIN = 1.0
_CASES_WITHIN = 5.0
_NEWEST = 100
"""Review items that are looked at: whether some wait, not how many there are in all."""
_PREFIX = "PIPELINE_"
_ELSEWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - what is listened on
_MISSING_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Situation:
    """What was found; what could not be looked at is as if it was not there.

    `waiting` counts only among the newest review items; addresses are those of what answers.
    """

    has_settings: bool
    brokers: str
    unreachable: str | None = None
    missing: Sequence[str] = ()
    dashboard: str | None = None
    desk: str | None = None
    waiting: int = 0


class Step(NamedTuple):
    """A command to run next, or an address to open, and what for."""

    do: str
    why: str


@dataclass(frozen=True, slots=True)
class Advice:
    found: Sequence[str]  # sentences
    next: Sequence[Step]  # the first of them first


def advise(seen: Situation) -> Advice:
    """What to do next. Pure."""
    if not seen.has_settings:
        return Advice(
            ["There are no settings here: no pipeline.toml, no variable PIPELINE_..."],
            [
                Step(
                    "pipeline demo", "see a day of events on this machine, without Kafka or a key"
                ),
                Step("pipeline local", "have a broker and a simulated API for events of your own"),
                Step("pipeline init", "write a pipeline.toml for the topics that you have"),
            ],
        )
    if seen.unreachable is not None:
        return Advice([seen.unreachable], [Step("pipeline doctor", "find out what is wrong")])
    found = [f"The brokers at {seen.brokers} answer."]
    if seen.missing:
        shown = ", ".join(seen.missing[:_MISSING_SHOWN])
        more = len(seen.missing) - _MISSING_SHOWN
        found.append(f"Topics are missing: {shown}{f' and {more} more' if more > 0 else ''}.")
        return Advice(found, [Step("pipeline topics create", "make those that are missing")])
    return Advice(found, [*_to_run(seen, found)])


def _to_run(seen: Situation, found: list[str]) -> Iterator[Step]:
    if seen.waiting:
        least = "At least " if seen.waiting == _NEWEST else ""
        found.append(f"{least}{seen.waiting} cases wait for a person.")
        if seen.desk is not None:
            yield Step(seen.desk, "settle them in the browser")
        else:
            yield Step("pipeline desk", "settle them in the browser")
            yield Step("pipeline review list --open", "or at the command line")
    if seen.dashboard is not None:
        found.append("The pipeline runs.")
        yield Step(seen.dashboard, "watch it")
        yield Step("pipeline lag", "see how far each stage is behind")
    else:
        found.append("Nothing runs on this machine.")
        yield Step("pipeline run", "consume the topics, ask and publish")
        yield Step("pipeline publish STAGE FILE", "put events on a topic, if none come yet")


async def look(
    settings: Settings, environment: Mapping[str, str], folder: Path = Path()
) -> Situation:
    """Look at what there is, for some seconds at most."""
    kafka = settings.kafka
    tables = {f"{_PREFIX}{name.upper()}" for name in Settings.model_fields}
    has_settings = (folder / "pipeline.toml").is_file() or any(
        name.upper().partition("__")[0] in tables for name in environment
    )
    if not has_settings:
        return Situation(False, kafka.bootstrap_servers)
    try:
        async with asyncio.timeout(_BROKERS_WITHIN):
            await check_connection(kafka)
            topics = await describe(settings, None)
    except PipelineError as error:
        return Situation(True, kafka.bootstrap_servers, unreachable=str(error))
    except TimeoutError:
        silent = f"The brokers at {kafka.bootstrap_servers} do not answer in time: look at them."
        return Situation(True, kafka.bootstrap_servers, unreachable=silent)
    dashboard, desk, waiting = await asyncio.gather(
        _answering(settings.http.host, settings.http.port, "/healthz"),
        _answering(settings.desk.host, settings.desk.port, "/page/main.js"),
        _waiting(settings),
    )
    missing = [name for name, state in topics.items() if state is None]
    return Situation(
        True, kafka.bootstrap_servers, None, missing, dashboard, desk, 0 if missing else waiting
    )


async def _answering(host: str, port: int, path: str) -> str | None:
    """The address, if something of ours answers there; a port of 0 is not known from here."""
    if port == 0:
        return None
    address = f"http://{_ELSEWHERE.get(host, host)}:{port}"
    try:
        async with (
            asyncio.timeout(_PAGE_WITHIN),
            aiohttp.ClientSession() as session,
            session.get(address + path, allow_redirects=False) as response,
        ):
            return address if response.ok else None
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
        return None


async def _waiting(settings: Settings) -> int:
    """How many of the newest review items nobody has settled."""
    names = TopicNames.under(settings)
    try:
        async with asyncio.timeout(_CASES_WITHIN):
            newest = await read_latest(settings.kafka, [names.review], _NEWEST)
            if not newest:
                return 0
            handled = await read_handled(topic_reader(settings), names.review, names.resolved)
    except (PipelineError, TimeoutError):
        return 0
    return sum(handled.of(record) is None for record in newest)
