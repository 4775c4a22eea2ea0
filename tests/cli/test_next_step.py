"""`pipeline` alone says what to do next."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from aiohttp import web

from pipeline.config import DeskSettings, HttpSettings, Settings
from pipeline.operators.next_step import Situation, advise, look
from tests.cli.conftest import Run

READY = Situation(True, "kafka-1:9092")


@pytest.mark.parametrize(
    ("seen", "first"),
    [
        (Situation(False, "kafka-1:9092"), "pipeline demo"),
        (Situation(True, "kafka-1:9092", unreachable="No broker answers."), "pipeline doctor"),
        (Situation(True, "kafka-1:9092", missing=["review"]), "pipeline topics create"),
        (READY, "pipeline run"),
        (Situation(True, "k", dashboard="http://127.0.0.1:8080"), "http://127.0.0.1:8080"),
        (Situation(True, "k", waiting=3), "pipeline desk"),
        (Situation(True, "k", waiting=3, desk="http://127.0.0.1:8090"), "http://127.0.0.1:8090"),
    ],
    ids=["nothing", "no brokers", "no topics", "ready", "running", "waiting", "desk"],
)
def test_the_first_step_is_what_is_missing_first(seen: Situation, first: str) -> None:
    assert advise(seen).next[0].do == first


@pytest.mark.parametrize(("waiting", "said"), [(7, "7 cases"), (100, "At least 100 cases")])
def test_it_says_how_many_cases_wait_as_far_as_it_looked(waiting: int, said: str) -> None:
    found = " ".join(advise(Situation(True, "k", waiting=waiting)).found)
    assert found.count(said) == 1


def test_many_missing_topics_are_counted_and_not_listed() -> None:
    missing: Sequence[str] = [f"topic-{number}" for number in range(30)]
    found = advise(Situation(True, "k", missing=missing)).found
    assert found[-1] == "Topics are missing: topic-0, topic-1, topic-2, topic-3 and 26 more."


async def test_a_setting_anywhere_counts(tmp_path: Path) -> None:
    settings = Settings.model_validate({"kafka": {"bootstrap_servers": "127.0.0.1:1"}})
    assert not (await look(settings, {"HOME": "/"}, tmp_path)).has_settings
    seen = await look(settings, {"PIPELINE_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1"}, tmp_path)
    assert "127.0.0.1:1" in (seen.unreachable or "")
    (tmp_path / "pipeline.toml").touch()
    assert (await look(settings, {}, tmp_path)).has_settings


def test_pipeline_alone_says_what_it_found_and_what_is_next(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = run()
    assert ran.code == 0
    assert "pipeline demo" in ran.out
    assert json.loads(run("--json").out)["next"][0]["do"] == "pipeline demo"


@pytest.mark.usefixtures("nowhere")
def test_brokers_that_do_not_answer_are_said_and_doctor_is_next(run: Run) -> None:
    ran = run()
    assert (ran.code, "pipeline doctor" in ran.out, "127.0.0.1:1" in ran.out) == (0, True, True)


def test_topics_that_are_missing_are_found_and_then_what_runs(run: Run, prefix: str) -> None:
    said = json.loads(run("--json").out)
    assert said["next"][0]["do"] == "pipeline topics create"
    assert prefix in said["found"][-1]
    assert run("topics", "create").code == 0
    assert json.loads(run("--json").out)["next"][0]["do"] in {"pipeline run", "pipeline lag"}


async def test_a_dashboard_and_a_desk_that_answer_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def fine(_: web.Request) -> web.Response:
        return web.Response()

    async def no_brokers(_: object) -> str:
        return "kafka-1:9092"

    async def no_topics(*_: object) -> dict[str, None]:
        return {}

    async def none(_: object) -> int:
        return 0

    monkeypatch.setattr("pipeline.operators.next_step.check_connection", no_brokers)
    monkeypatch.setattr("pipeline.operators.next_step.describe", no_topics)
    monkeypatch.setattr("pipeline.operators.next_step._waiting", none)
    app = web.Application()
    app.router.add_get("/healthz", fine)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    try:
        settings = Settings(http=HttpSettings(port=port), desk=DeskSettings(port=1))
        seen = await look(settings, {"PIPELINE_HTTP__PORT": str(port)}, tmp_path)
    finally:
        await runner.cleanup()
    assert (seen.dashboard, seen.desk) == (f"http://127.0.0.1:{port}", None)
