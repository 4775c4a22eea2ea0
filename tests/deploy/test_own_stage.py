"""What a team deploys that has a stage of its own: examples/own_stage."""

import functools
import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import Settings
from pipeline.kafka.topics import TopicNames
from tests.deploy.documents import documents
from tests.deploy.test_manifests import KUBERNETES
from tests.deploy.tools import ROOT, run
from tests.taxonomies.world import settings_in

EXAMPLE = ROOT / "examples" / "own_stage"
STAGE, GROUP, TWIN = "refunds", "haiku-pipeline-refunds", "haiku-pipeline-tickets"


@functools.cache
def built(folder: Path) -> str:
    return run("kubectl", "kustomize", folder)


def manifests(kind: str) -> dict[str, dict[str, Any]]:
    found = [each for each in documents(built(EXAMPLE / "kubernetes")) if each["kind"] == kind]
    return {each["metadata"]["name"]: each for each in found}


def containers() -> dict[str, dict[str, Any]]:
    return {
        name: each["spec"]["template"]["spec"]["containers"][0]
        for name, each in manifests("StatefulSet").items()
    }


def settings_of_the_pods(monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Those of a container that works in the example's folder, as its image does."""
    [config] = manifests("ConfigMap").values()
    for name, value in config["data"].items():
        monkeypatch.setenv(name, value)
    return settings_in(EXAMPLE)


def test_it_is_prod_with_one_group_more() -> None:
    prod = documents(built(KUBERNETES / "overlays" / "prod"))
    before = {(each["kind"], each["metadata"]["name"]) for each in prod}
    after = {
        (each["kind"], each["metadata"]["name"])
        for each in documents(built(EXAMPLE / "kubernetes"))
    }
    assert {each for each in after - before if each[0] != "ConfigMap"} == {
        ("StatefulSet", GROUP), ("ScaledObject", GROUP), ("PodDisruptionBudget", GROUP),
    }  # fmt: skip
    assert {kind for kind, _ in before - after} == {"ConfigMap"}  # its name follows its content


@pytest.mark.parametrize("kind", ["StatefulSet", "PodDisruptionBudget", "ScaledObject"])
def test_the_group_is_like_one_that_comes_with_the_pipeline(kind: str) -> None:
    found = manifests(kind)
    own, twin = json.dumps(found[GROUP]), json.dumps(found[TWIN])
    assert own == twin.replace("tickets", STAGE)


def test_it_scales_on_the_lag_of_the_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of_the_pods(monkeypatch)
    spec = manifests("ScaledObject")[GROUP]["spec"]
    [trigger] = spec["triggers"]
    assert trigger["metadata"]["consumerGroup"] == settings.kafka.group_prefix + STAGE
    assert trigger["metadata"]["topic"] == TopicNames.under(settings).raw(STAGE)
    assert spec["maxReplicaCount"] == settings.topics.partitions


def test_every_group_runs_the_image_that_knows_the_stage() -> None:
    assert {each["image"] for each in containers().values()} == {
        "registry.example.com/acme/pipeline:1.0.0"
    }
    first = (EXAMPLE / "Dockerfile").read_text("utf-8").split("ARG")[0]
    assert "registry.example.com/acme/pipeline:1.0.0" in first


def test_what_is_enabled_is_what_the_groups_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of_the_pods(monkeypatch)
    served = [stage for each in containers().values() for stage in each["args"][1:]]
    assert sorted(settings.enabled) == sorted(served)
    assert STAGE in settings.stages.by_name()


def test_the_image_has_the_stage_and_its_settings_where_it_works() -> None:
    assert run("hadolint", EXAMPLE / "Dockerfile") == ""
    [copy] = [
        line.split()[1:]
        for line in (EXAMPLE / "Dockerfile").read_text("utf-8").splitlines()
        if line.startswith("COPY")
    ]
    *sources, target = copy
    assert target == "/etc/haiku-pipeline/"
    assert {*sources} == {"refunds.py", "pipeline.toml"}
    assert all((EXAMPLE / each).exists() for each in sources)


def test_docker_compose_puts_the_stage_where_the_image_looks_for_it() -> None:
    text = run(
        "docker-compose", "--file", ROOT / "docker-compose.yml",
        "--file", EXAMPLE / "compose.yml", "config", "--format", "json",
        env={"ANTHROPIC_API_KEY": ""},
    )  # fmt: skip
    services = json.loads(text)["services"]
    for name in ("pipeline", "topics"):
        bound = {
            each["target"]: each for each in services[name]["volumes"] if each["type"] == "bind"
        }
        for file in ("refunds.py", "pipeline.toml"):
            mount = bound[f"/etc/haiku-pipeline/{file}"]
            assert Path(mount["source"]) == EXAMPLE / file
            assert mount["read_only"] is True
    assert "/var/lib/haiku-pipeline" in {each["target"] for each in services["pipeline"]["volumes"]}
