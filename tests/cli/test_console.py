import asyncio
import os
import signal

import pytest

from pipeline.model.errors import PipelineError, UsageError
from pipeline.runtime import console


def test_a_plain_error_ends_with_1_and_wrong_use_with_2(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert console.report(PipelineError("No broker answers."), debug=False) == 1
    assert console.report(UsageError("No such stage."), debug=False) == 2
    assert capsys.readouterr().err == "Error: No broker answers.\nError: No such stage.\n"


def test_of_a_group_the_error_that_a_person_can_fix_is_reported(
    capsys: pytest.CaptureFixture[str],
) -> None:
    group = ExceptionGroup(
        "tasks", [OSError("closed"), ExceptionGroup("more", [PipelineError("The port is taken.")])]
    )
    assert console.report(group, debug=False) == 1
    assert capsys.readouterr().err == "Error: The port is taken.\n"


def test_brackets_in_an_error_are_not_markup(capsys: pytest.CaptureFixture[str]) -> None:
    console.report(PipelineError("See [topics] in the settings."), debug=False)
    assert "[topics]" in capsys.readouterr().err


def test_work_that_ends_gives_its_result() -> None:
    async def work() -> int:
        return 42

    assert console.run(work()) == 42
    assert console.run_endless(work()) == 42


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_work_that_has_an_end(number: signal.Signals) -> None:
    cleaned_up = False

    async def work() -> None:
        nonlocal cleaned_up
        try:
            os.kill(os.getpid(), number)
            await asyncio.Event().wait()
        finally:
            cleaned_up = True

    with pytest.raises(console.Interrupted):
        console.run(work())
    assert cleaned_up


def test_a_signal_is_the_good_end_of_endless_work() -> None:
    async def work() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.Event().wait()

    assert console.run_endless(work()) is None


def test_a_server_is_asked_to_stop_and_takes_its_time() -> None:
    async def serve(stop: asyncio.Event) -> str:
        os.kill(os.getpid(), signal.SIGTERM)
        await stop.wait()
        await asyncio.sleep(0)
        return "drained"

    assert console.run_until_stopped(serve) == "drained"


def test_a_second_signal_cancels_a_server_that_does_not_stop() -> None:
    async def serve(stop: asyncio.Event) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await stop.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()

    with pytest.raises(console.Interrupted):
        console.run_until_stopped(serve)


def test_progress_says_nothing_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with console.progress("Publishing", 3) as done:
        done(3)
    assert capsys.readouterr().err == ""


def test_tables_show_cells_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    console.table(("Topic", "Lag"), [("tickets.raw", "3"), ("[red]x[/red]", "0")])
    out = capsys.readouterr().out
    assert "tickets.raw" in out
    assert "[red]x[/red]" in out
