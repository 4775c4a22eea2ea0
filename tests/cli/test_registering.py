"""`pipeline schemas register`: each subject once, and all of them or none."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.inputs.registry_server import RegistryServer


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[RegistryServer]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PIPELINE_STAGES__TICKETS__OUTPUT__FORMAT", "avro")
    monkeypatch.setenv("PIPELINE_STAGES__TICKETS__OUTPUT__FLAT_TOPIC", "tickets.flat")
    with RegistryServer().in_a_thread() as serving:
        monkeypatch.setenv("PIPELINE_REGISTRY__URL", serving.url)
        yield serving


def test_what_was_registered_is_said_and_not_registered_again(
    server: RegistryServer, run: Run
) -> None:
    first = run("schemas", "register")
    assert (first.code, first.err) == (0, "")
    assert first.out.splitlines() == [
        "tickets.enriched-value (avro): registered as 1, its first version.",
        "tickets.flat-value (avro): registered as 2, its first version.",
    ]
    again = run("schemas", "register", "--json")
    assert again.code == 0
    assert [each["change"] for each in json.loads(again.out)] == ["none", "none"]


def test_where_one_subject_refuses_none_is_registered(server: RegistryServer, run: Run) -> None:
    server.add("tickets.enriched-value", '"string"')
    refused = run("schemas", "register")
    assert refused.code == 1
    assert "tickets.enriched-value (avro): not registered" in refused.out
    assert "tickets.flat-value (avro): is not registered, as others are not" in refused.out
    assert "tickets.flat-value" not in server.subjects


def test_a_registry_that_cannot_be_asked_is_said_in_one_sentence(
    server: RegistryServer, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.authorization = "Basic another"
    ran = run("schemas", "register", "--dry-run")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("Error: The schema registry cannot be asked")
    monkeypatch.setenv("PIPELINE_STAGES__TICKETS__OUTPUT__FORMAT", "json")
    assert "set stages.<stage>.output.format" in run("schemas", "register").err
