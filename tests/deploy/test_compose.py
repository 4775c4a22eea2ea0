import functools
import json
import re
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import Settings
from tests.deploy.documents import document
from tests.deploy.tools import ROOT, run

LOOPBACK = "127.0.0.1"


@functools.cache
def composed(**environment: str) -> dict[str, Any]:
    """The file as Docker Compose itself reads it, which holds it against its specification."""
    text = run(
        "docker-compose", "--file", ROOT / "docker-compose.yml", "config", "--format", "json",
        env={"ANTHROPIC_API_KEY": "", **environment},
    )  # fmt: skip
    services: dict[str, Any] = json.loads(text)["services"]
    return services


def test_everything_that_is_needed_is_there() -> None:
    assert composed().keys() == {
        "kafka", "topics", "simulated-api", "pipeline", "prometheus", "grafana", "kafka-ui",
    }  # fmt: skip


def test_nothing_listens_beyond_this_machine() -> None:
    services = composed()
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert {port["host_ip"] for port in ports} == {LOOPBACK}
    published = [port["published"] for port in ports]
    assert len(published) == len(set(published))
    assert not any(service.get("network_mode") == "host" for service in services.values())


def test_answers_are_simulated_without_a_key() -> None:
    environment = composed()["pipeline"]["environment"]
    assert environment["ANTHROPIC_BASE_URL"] == "http://simulated-api:8000"
    assert environment["ANTHROPIC_API_KEY"] == "simulated"


def test_the_real_api_answers_with_a_key_and_nothing_simulated_is_built() -> None:
    services = composed(ANTHROPIC_API_KEY="a-key")
    environment = services["pipeline"]["environment"]
    assert "simulated-api" not in services
    assert not any("args" in service.get("build", {}) for service in services.values())
    assert "ANTHROPIC_BASE_URL" not in environment
    assert environment["ANTHROPIC_API_KEY"] == "a-key"


def test_nothing_starts_before_what_it_needs() -> None:
    services = composed()

    def needs(name: str) -> dict[str, str]:
        return {
            other: how["condition"] for other, how in services[name].get("depends_on", {}).items()
        }

    assert needs("topics") == {"kafka": "service_healthy"}
    assert needs("pipeline") == {
        "kafka": "service_healthy",
        "topics": "service_completed_successfully",
    }
    waited_for = [
        other
        for name in services
        for other, condition in needs(name).items()
        if condition == "service_healthy"
    ]
    assert all("test" in services[other]["healthcheck"] for other in waited_for)


def test_every_service_that_stays_says_whether_it_is_healthy() -> None:
    services = composed()
    without = {name for name, service in services.items() if "test" not in healthcheck(service)}
    # What makes the topics ends.
    assert without == {"topics"}


def test_the_health_of_the_pipeline_is_whether_it_lives_not_whether_it_can_work() -> None:
    [command] = [each for each in composed()["pipeline"]["healthcheck"]["test"] if "http" in each]
    assert f"127.0.0.1:{Settings().http.port}/healthz" in command


def healthcheck(service: dict[str, Any]) -> dict[str, Any]:
    check: dict[str, Any] = service.get("healthcheck", {})
    return check


def test_images_are_of_a_version_and_pinned_by_digest() -> None:
    for name, service in composed().items():
        pinned = re.fullmatch(r"[\w/-]+:v?\d[\w.]*@sha256:[0-9a-f]{64}", service["image"])
        assert "build" in service or pinned, name


def test_prometheus_may_ask_the_pipeline_by_its_name() -> None:
    assert json.loads(composed()["pipeline"]["environment"]["PIPELINE_HTTP__NAMES"]) == ["pipeline"]


def test_our_own_containers_may_do_no_more_than_they_need() -> None:
    for service in composed().values():
        if "build" in service:
            assert service["read_only"] is True
            assert service["cap_drop"] == ["ALL"]
            assert service["security_opt"] == ["no-new-privileges:true"]


def test_settings_in_the_file_are_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for service in composed().values():
        for name, value in service.get("environment", {}).items():
            if name.startswith("PIPELINE_"):
                monkeypatch.setenv(name, value)
    settings = Settings()  # forbids what it does not know
    assert settings.kafka.bootstrap_servers == "kafka:9092"


def test_a_stop_leaves_time_to_drain() -> None:
    grace = composed()["pipeline"]["stop_grace_period"]
    assert float(grace.removesuffix("s")) > Settings().stream.drain_budget


def test_kafka_tells_each_side_an_address_that_it_can_reach() -> None:
    kafka = composed()["kafka"]
    told = dict(
        listener.split("://")
        for listener in kafka["environment"]["KAFKA_ADVERTISED_LISTENERS"].split(",")
    )
    assert told["INSIDE"] == "kafka:9092"
    [port] = kafka["ports"]
    assert told["OUTSIDE"] == f"{LOOPBACK}:{port['published']}"
    assert kafka["environment"]["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"


def test_files_that_are_mounted_are_there() -> None:
    for service in composed().values():
        for volume in service.get("volumes", []):
            if volume["type"] == "bind":
                assert Path(volume["source"]).exists(), volume["source"]
                assert volume["read_only"] is True


def test_prometheus_asks_the_pipeline() -> None:
    [job] = document(ROOT / "deploy/prometheus/prometheus.yml")["scrape_configs"]
    [target] = job["static_configs"][0]["targets"]
    host, _, port = target.partition(":")
    assert host in composed()
    assert int(port) == Settings().http.port
