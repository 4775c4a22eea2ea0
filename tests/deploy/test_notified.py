"""One cause, one notification: a real Alertmanager with the project's configuration."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path

import aiohttp
import pytest

from tests.deploy.causes import Alert, Cause, causes, documented, table
from tests.deploy.documents import alerts, document
from tests.deploy.prometheus import free_port
from tests.deploy.tools import DEPLOY, run, tool

CONFIGURATION = DEPLOY / "prometheus" / "alertmanager.yml"
CAUSES = causes()
RECEIVERS = {"critical": "page", "warning": "ticket"}
NO_DATA = "PipelineNoData"
STARTED_WITHIN = 20.0
every_cause = pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.name)


class Alertmanager:
    """Its API."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def post(self, fired: Iterable[dict[str, str]]) -> None:
        async with self._session.post(
            "/api/v2/alerts", json=[{"labels": labels} for labels in fired]
        ) as response:
            response.raise_for_status()

    async def notified(self, count: int) -> set[tuple[str, ...]]:
        """The groups with an alert that is not inhibited, by receiver and labels."""
        async with self._session.get("/api/v2/alerts/groups") as response:
            groups = await response.json()
        assert sum(len(group["alerts"]) for group in groups) == count
        return {
            (group["receiver"]["name"], *sorted(group["labels"].values()))
            for group in groups
            if any(not alert["status"]["inhibitedBy"] for alert in group["alerts"])
        }

    async def is_ready(self) -> bool:
        with contextlib.suppress(aiohttp.ClientConnectionError):
            async with self._session.get("/-/ready") as response:
                return response.status == 200
        return False


@contextlib.asynccontextmanager
async def alertmanager(folder: Path) -> AsyncIterator[Alertmanager]:
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        tool("alertmanager"),
        f"--config.file={CONFIGURATION}",
        f"--storage.path={folder}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
        "--log.level=warn",
    )
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            server = Alertmanager(session)
            async with asyncio.timeout(STARTED_WITHIN):
                while not await server.is_ready():  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.05)
            yield server
    finally:
        with contextlib.suppress(ProcessLookupError):  # it could not start, and has said why
            process.kill()
        await process.wait()


def at(cause: Cause, minute: float) -> Sequence[Alert]:
    """What has fired by then; a budget that was near is none once it is spent."""
    return [each for each in cause.alerts if 0 <= each.after <= minute]


def test_alertmanager_accepts_the_configuration() -> None:
    run("amtool", "check-config", CONFIGURATION)


@pytest.mark.parametrize(
    ("name", "severity", "receiver"),
    [
        ("PipelineNoData", "critical", "page"),
        ("PipelineLagGrowing", "warning", "ticket"),
        ("SomebodyElses", "critical", "nobody"),
    ],
)
def test_alerts_go_by_their_severity(name: str, severity: str, receiver: str) -> None:
    run(
        "amtool", "config", "routes", "test", f"--config.file={CONFIGURATION}",
        f"--verify.receivers={receiver}", f"alertname={name}", f"severity={severity}",
    )  # fmt: skip


async def test_each_cause_is_notified_once_whenever_one_looks(tmp_path: Path) -> None:
    tool("alertmanager")
    posted, wanted = 0, set[tuple[str, ...]]()
    async with alertmanager(tmp_path) as server:
        for cause in CAUSES:
            if cause.notified == NO_DATA:
                continue
            # When the first has waited for its group, which is when it is sent; and at the end.
            first = min((each.after for each in cause.alerts if each.after >= 0), default=0.0)
            for minute in (first + 0.5, 60.0):
                place = f"{cause.name}, {minute:g}"
                fired = [each.labels | {"namespace": place} for each in at(cause, minute)]
                posted += len(fired)
                await server.post(fired)
                if cause.notified is not None:
                    severity = cause.first(cause.notified).labels["severity"]
                    wanted.add((RECEIVERS[severity], *sorted([cause.notified, place])))
        assert await server.notified(posted) == wanted

        # It says nothing of namespaces, and that nothing else is current.
        [nothing] = [cause for cause in CAUSES if cause.notified == NO_DATA]
        fired = [each.labels for each in nothing.alerts]
        await server.post(fired)
        assert await server.notified(posted + len(fired)) == {("page", NO_DATA)}


@every_cause
def test_what_stops_a_stage_is_notified_within_two_minutes(cause: Cause) -> None:
    critical = [each for each in cause.alerts if each.labels["severity"] == "critical"]
    if cause.notified is None:
        assert cause.alerts == ()
    elif critical and cause.notified not in {
        "PipelineEscalationsHeld",  # a cap that somebody set, and that lets some through
        "PipelineOldestEventTooOld",  # one event, while others are finished
        "PipelineNoProgress",  # of no cause that is known: calls may take minutes
    }:
        assert cause.first(cause.notified).after <= 2


def test_inhibitions_name_alerts_that_exist() -> None:
    known = {alert["alert"] for alert in alerts()}
    for rule in document(CONFIGURATION)["inhibit_rules"]:
        assert names(rule["source_matchers"]) <= known
        assert names(rule["target_matchers"]) <= known


def names(matchers: list[str]) -> set[str]:
    [matcher] = [each for each in matchers if each.startswith("alertname")]
    value = matcher.partition("=")[2].strip('~"')
    return {each for each in value.split("|") if not each.endswith(".+")}


def test_the_runbook_has_the_table_of_causes() -> None:
    assert documented() == table(), "python -m tests.deploy.causes writes it"
