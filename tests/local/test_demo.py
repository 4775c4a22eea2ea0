"""The demo when the pipeline in it fails; that it succeeds is what `make demo` shows."""

import asyncio
import io
import sys
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.config import HttpSettings, Settings
from pipeline.local.child import StartFailed
from pipeline.local.demo import demo
from pipeline.local.screen import Screen, Summary
from pipeline.model.errors import UsageError

SHARE = 0.1
SETTINGS = Settings(http=HttpSettings(port=0))
UP = """print('{"dashboard":"http://127.0.0.1:1","delivery":"exactly_once"}', flush=True)"""


def quiet() -> Screen:
    return Screen(Console(file=io.StringIO()))


@pytest.fixture(autouse=True)
def _records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the records of the day are kept is thrown away."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def python(program: str) -> tuple[str, ...]:
    return (sys.executable, "-c", program)


async def shown(program: str, *, patience: float = 30.0) -> Summary:
    return await demo(SETTINGS, quiet(), share=SHARE, command=python(program), patience=patience)


async def test_a_pipeline_that_does_nothing_loses_every_event() -> None:
    summary = await shown(f"import time; {UP}; time.sleep(60)", patience=0.5)
    assert not summary.ok
    assert summary.problem is not None
    assert "came to no end" in summary.problem
    assert len(summary.account.lost) == sum(
        tally.published for tally in summary.account.stages.values()
    )


async def test_a_pipeline_that_ends_on_the_way_is_reported_with_what_it_said() -> None:
    summary = await shown(f"import sys; {UP}; sys.exit('out of luck')")
    assert not summary.ok
    assert summary.problem is not None
    assert "out of luck" in summary.problem


async def test_a_pipeline_that_does_not_start_is_reported_with_what_it_said() -> None:
    with pytest.raises(StartFailed, match="out of luck"):
        await shown("import sys; sys.exit('out of luck')")


async def test_the_real_api_needs_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    with pytest.raises(UsageError, match="ANTHROPIC_API_KEY"):
        await demo(SETTINGS, quiet(), real=True)


async def test_it_can_be_cancelled_and_leaves_nothing_behind() -> None:
    up = asyncio.Event()

    class Watched(Screen):
        def say(self, sentence: str) -> None:
            if "dashboard" in sentence:
                up.set()

    program = python(f"import time; {UP}; time.sleep(60)")
    showing = asyncio.create_task(demo(SETTINGS, Watched(), share=SHARE, command=program))
    async with asyncio.timeout(60):
        await up.wait()
        showing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await showing
