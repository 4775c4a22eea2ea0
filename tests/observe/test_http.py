import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from pipeline.config import HttpSettings
from pipeline.model.errors import PipelineError
from pipeline.observe import web
from pipeline.observe.dashboard import About, Health, Status, Views
from pipeline.observe.metrics import Conditions, Metrics
from pipeline.observe.web import page_files, serve

PAGE = Path("pipeline/observe/page")
ANY_PORT = HttpSettings(port=0)


@pytest.fixture
def health() -> Health:
    return Health()


@pytest.fixture
def views(
    registry: CollectorRegistry, conditions: Conditions, health: Health, metrics: Metrics
) -> Views:
    about = About("1.2.3", "at_least_once", ("tickets",))
    return Views(registry, health, Status(about, registry, conditions, health))


@asynccontextmanager
async def raw_connection(
    views: Views,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    async with serve(ANY_PORT, views) as address:
        port = int(address.rsplit(":", 1)[1])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            yield reader, writer
        finally:
            writer.close()


@asynccontextmanager
async def client(views: Views) -> AsyncIterator[aiohttp.ClientSession]:
    async with serve(ANY_PORT, views) as address, aiohttp.ClientSession(address) as session:
        yield session


async def test_metrics_are_in_the_text_format_without_creation_times(
    views: Views, metrics: Metrics
) -> None:
    metrics.received("tickets", "tickets.raw", 0, size=10)
    async with client(views) as session, session.get("/metrics") as answer:
        text = await answer.text()
    assert answer.status == 200
    assert answer.content_type == "text/plain"
    assert 'pipeline_events_received_total{stage="tickets"} 1.0' in text
    assert "_created" not in text


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_a_process_without_faults_is_well(views: Views, path: str) -> None:
    async with client(views) as session, session.get(path) as answer:
        assert answer.status == 200
        assert (await answer.json())["ok"] is True


async def test_what_is_not_ready_says_why_and_lives_on(views: Views, health: Health) -> None:
    health.add_readiness("api", lambda: "The API key is not accepted.")
    async with client(views) as session:
        async with session.get("/readyz") as answer:
            assert answer.status == 503
            assert (await answer.json())["findings"] == [
                {"name": "api", "reason": "The API key is not accepted."}
            ]
        async with session.get("/healthz") as answer:
            assert answer.status == 200


async def test_the_status_is_json_and_never_cached(views: Views) -> None:
    async with client(views) as session, session.get("/api/status") as answer:
        view = await answer.json()
    assert answer.headers["Cache-Control"] == "no-store"
    assert view["delivery"] == "at_least_once"
    assert [stage["name"] for stage in view["stages"]] == ["tickets"]


async def test_the_page_may_run_its_own_files_and_nothing_else(views: Views) -> None:
    async with client(views) as session, session.get("/") as answer:
        page = await answer.text()
    policy = answer.headers["Content-Security-Policy"]
    assert answer.content_type == "text/html"
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert not re.search(r"<script>|<style>|style=|\son\w+=", page)


async def test_the_files_of_the_page_are_asked_about_and_sent_once(views: Views) -> None:
    async with client(views) as session:
        async with session.get("/") as answer:
            named = re.findall(r'(?:href|src)="(page/[^"]+)"', await answer.text())
        assert len(named) > 3
        for name in named:
            async with session.get(f"/{name}") as answer:
                assert answer.status == 200
                assert answer.headers["Cache-Control"] == "no-cache"
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                etag = answer.headers["ETag"]
            async with session.get(f"/{name}", headers={"If-None-Match": etag}) as answer:
                assert answer.status == 304
                assert await answer.read() == b""


@pytest.mark.parametrize("name", ["nothing.js", "..%2fhttp.py", "%2e%2e/http.py"])
async def test_nothing_but_the_page_is_served(views: Views, name: str) -> None:
    async with client(views) as session, session.get(f"/page/{name}") as answer:
        assert answer.status == 404


def test_every_file_of_the_page_is_served() -> None:
    assert {path.name for path in PAGE.iterdir()} <= page_files().keys()


@pytest.mark.parametrize("path", sorted(PAGE.iterdir()), ids=lambda path: path.name)
def test_the_page_needs_no_network_and_never_parses_data_as_markup(path: Path) -> None:
    page = path.read_text()
    addresses = set(re.findall(r"https?://[^\s\"']+", page))
    assert addresses <= {"http://www.w3.org/2000/svg"}
    for dangerous in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert dangerous not in page


@pytest.mark.parametrize(
    ("header", "is_answered"),
    [
        ("127.0.0.1:8080", True),
        ("[::1]:8080", True),
        ("[::1]", True),
        ("localhost", True),
        ("LOCALHOST:1", True),
        ("10.1.2.3", True),
        ("dash.example:8080", True),
        ("evil.example", False),
        ("127.0.0.1.evil.example:8080", False),
        ("localhost.evil.example", False),
    ],
)
async def test_another_site_that_points_its_name_here_is_shown_nothing(
    views: Views, header: str, is_answered: bool
) -> None:
    settings = HttpSettings(port=0, names=["Dash.example"])
    async with (
        serve(settings, views) as address,
        aiohttp.ClientSession(address) as session,
        session.get("/api/status", headers={"Host": header}) as answer,
    ):
        assert answer.status == (200 if is_answered else 421)


@pytest.mark.parametrize(
    ("header", "is_answered"),
    [
        ("evil.example", False),
        ("127.0.0.1", True),
        (f"{socket.gethostname()}:8080", True),
        ("pipeline:8080", True),
        ("haiku.team.svc", True),
        ("svc", False),
        ("evilsvc", False),
    ],
)
async def test_open_to_others_it_answers_to_its_own_names_alone(
    views: Views, header: str, is_answered: bool
) -> None:
    settings = HttpSettings(host="0.0.0.0", port=0, names=["pipeline", "*.svc"])
    async with serve(settings, views) as address:
        port = address.rsplit(":", 1)[1]
        async with (
            aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
            session.get("/healthz", headers={"Host": header}) as answer,
        ):
            assert answer.status == (200 if is_answered else 421)


async def test_a_client_without_a_host_header_is_no_browser_and_is_answered(views: Views) -> None:
    async with raw_connection(views) as (reader, writer):
        writer.write(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.0 200")


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET / HTTP/1.1\r\nHo",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n1",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
    ids=["nothing", "half a header", "half a body", "nothing more"],
)
async def test_a_connection_that_sends_no_whole_request_in_time_is_closed(
    views: Views, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(web, "REQUEST_SECONDS", 0.05)
    async with raw_connection(views) as (reader, writer):
        writer.write(sent)
        await reader.read()  # returns once the connection is closed
        assert reader.at_eof()


async def test_a_response_that_nobody_reads_is_given_up(
    views: Views, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "REQUEST_SECONDS", 0.2)
    monkeypatch.setattr(views.status, "view", lambda: {"large": "x" * (64 << 20)})
    async with raw_connection(views) as (reader, writer):
        writer.write(b"GET /api/status HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await asyncio.sleep(2 * web.REQUEST_SECONDS)  # nothing is read meanwhile: that is the test
        with contextlib.suppress(ConnectionResetError):
            assert len(await reader.read()) < 64 << 20


async def test_too_many_connections_are_closed_and_the_others_are_served(
    views: Views, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "MAX_CONNECTIONS", 1)
    async with serve(ANY_PORT, views) as address, aiohttp.ClientSession(address) as session:
        async with session.get("/healthz") as answer:
            await answer.read()
        reader, writer = await asyncio.open_connection("127.0.0.1", int(address.split(":")[-1]))
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()
        async with session.get("/healthz") as answer:
            assert answer.status == 200


async def test_a_taken_port_is_said_in_one_sentence(views: Views) -> None:
    async with serve(ANY_PORT, views) as address:
        taken = HttpSettings(port=int(address.rsplit(":", 1)[1]))
        with pytest.raises(PipelineError, match=r"PIPELINE_HTTP__PORT") as error:
            async with serve(taken, views):
                pass
    assert "address already in use" in str(error.value)


async def test_a_worker_is_served_on_a_socket_file(views: Views, tmp_path: Path) -> None:
    socket = tmp_path / "worker-0.sock"
    async with (
        serve(ANY_PORT, views, socket=socket) as address,
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(socket))) as session,
        session.get("http://worker/healthz") as answer,
    ):
        assert address == str(socket)
        assert answer.status == 200
