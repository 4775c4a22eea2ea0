"""The demo on a terminal: progress while it runs, a table at the end, or JSON for a program."""

import asyncio
from collections import Counter
from typing import Any

import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from pipeline import console
from pipeline.local.demo import Show, demo
from pipeline.local.summary import HEADINGS, Summary
from pipeline.settings import Settings
from pipeline.stream.records import Received


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
