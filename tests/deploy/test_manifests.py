import functools
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # its stubs are no dependency of this project

from benchmarks.footprint import LIMITS_MIB
from pipeline.config import Settings
from pipeline.kafka.topics import TopicNames
from tests.deploy.commands import commands
from tests.deploy.documents import RULES, document, documents
from tests.deploy.tools import DEPLOY, ROOT, run, run_python

KUBERNETES = DEPLOY / "kubernetes"
OVERLAYS = ("dev", "prod")
VERSIONS = ("1.31.0", "1.37.0")  # the oldest and the newest that it is meant for
SETTINGS = Settings()
TOPICS = TopicNames(SETTINGS.topics)
NAME = "haiku-pipeline"

every_overlay = pytest.mark.parametrize("overlay", OVERLAYS)


@functools.cache
def built(overlay: str) -> str:
    return run("kubectl", "kustomize", KUBERNETES / "overlays" / overlay)


def manifests(overlay: str, kind: str) -> dict[str, dict[str, Any]]:
    found = [each for each in documents(built(overlay)) if each["kind"] == kind]
    return {each["metadata"]["name"]: each for each in found}


def groups(overlay: str) -> dict[str, dict[str, Any]]:
    return manifests(overlay, "StatefulSet")


def pod_specs(overlay: str) -> dict[str, dict[str, Any]]:
    return {
        name: each["spec"]["template"]["spec"]
        for kind in ("StatefulSet", "Deployment", "Job")
        for name, each in manifests(overlay, kind).items()
    }


def settings_of(overlay: str) -> dict[str, str]:
    [config] = manifests(overlay, "ConfigMap").values()
    data: dict[str, str] = config["data"]
    return data


def with_components(folder: Path, overlay: str) -> str:
    """What an overlay gives with every component in it."""
    copy = folder / "kubernetes"
    shutil.copytree(KUBERNETES, copy)
    path = copy / "overlays" / overlay / "kustomization.yaml"
    used = [f"../../components/{each.name}" for each in (KUBERNETES / "components").iterdir()]
    path.write_text(yaml.safe_dump(document(path) | {"components": used}))
    return run("kubectl", "kustomize", path.parent)


def beside(folder: Path, overlay: str) -> str:
    """What somebody gets who adds every component to an overlay that stays as it is."""
    place = Path(os.path.relpath(KUBERNETES, folder))
    own = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": document(KUBERNETES / "overlays" / overlay / "kustomization.yaml")[
            "namespace"
        ],
        "resources": [str(place / "overlays" / overlay)],
        "components": [
            str(place / "components" / each.name) for each in (KUBERNETES / "components").iterdir()
        ],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(own))
    return run("kubectl", "kustomize", folder)


def workloads(text: str) -> dict[str, dict[str, Any]]:
    """The pods' specifications by the name of what makes them, without the simulated API's."""
    return {
        each["metadata"]["name"]: each["spec"]["template"]["spec"]
        for each in documents(text)
        if each["kind"] in ("StatefulSet", "Job") and NAME in each["metadata"]["name"]
    }


@pytest.mark.parametrize("way", [with_components, beside])
def test_every_workload_of_prod_reaches_the_brokers_as_the_same_account(
    tmp_path: Path, way: Callable[[Path, str], str]
) -> None:
    made = workloads(way(tmp_path, "prod"))
    assert made.keys() == {
        *groups("prod"), "haiku-pipeline-topics", "haiku-pipeline-backfill",
    }  # fmt: skip
    [config] = manifests("prod", "ConfigMap")
    for name, spec in made.items():
        [container] = spec["containers"]
        assert container["envFrom"] == [{"configMapRef": {"name": config}}], name
        secrets = {
            each["name"]: {**each["valueFrom"]["secretKeyRef"]}
            for each in container["env"]
            if "secretKeyRef" in each["valueFrom"]
        }
        secrets.pop("ANTHROPIC_API_KEY", None)
        assert secrets == {
            f"PIPELINE_KAFKA__SASL_{key.upper()}": {
                "name": "haiku-pipeline-kafka", "key": key, "optional": True,
            }
            for key in ("username", "password")
        }, name  # fmt: skip
        mounted = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
        assert mounted["kafka-tls"] == "/etc/haiku-pipeline-kafka", name
        volumes = {each["name"]: each for each in spec["volumes"]}
        assert volumes["kafka-tls"]["secret"]["secretName"] == "haiku-pipeline-kafka-tls", name
        # The files are root's and readable by the group.
        assert spec["securityContext"]["fsGroup"] == spec["securityContext"]["runAsGroup"], name


def test_the_schemas_of_kubernetes_keda_and_prometheus_accept_all_of_it(tmp_path: Path) -> None:
    """Both overlays, every component, and the example of a stage of one's own: reading the schemas
    takes seconds, and is done once."""
    own_stage = run("kubectl", "kustomize", ROOT / "examples" / "own_stage" / "kubernetes")
    texts = [*map(built, OVERLAYS), with_components(tmp_path, "prod"), own_stage]
    run_python("-m", "deploy.tools.validate_manifests", *VERSIONS, stdin="\n---\n".join(texts))


def test_components_in_an_overlay_run_its_image(tmp_path: Path) -> None:
    made = workloads(with_components(tmp_path, "prod"))
    images = {spec["containers"][0]["image"] for spec in made.values()}
    assert images == {"registry.example.com/haiku-pipeline:0.1.0"}


def test_a_backfill_is_a_job_beside_the_groups(tmp_path: Path) -> None:
    job = workloads(with_components(tmp_path, "dev"))["haiku-pipeline-backfill"]
    [container] = job["containers"]
    command, stage, *options = container["args"]
    assert command == "backfill"
    assert stage in SETTINGS.enabled
    known = {each for option in commands()["backfill"].params for each in option.opts}
    assert {*options} <= known


@every_overlay
def test_each_stage_is_served_by_one_group(overlay: str) -> None:
    served = Counter[str]()
    for deployment in groups(overlay).values():
        command, *stages = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
        assert command == "run"
        served.update(stages)
    assert served == dict.fromkeys(SETTINGS.enabled, 1)


@every_overlay
def test_a_group_scales_on_the_lag_of_the_stages_that_it_serves(overlay: str) -> None:
    scaled = manifests(overlay, "ScaledObject")
    assert scaled.keys() == groups(overlay).keys()
    for name, deployment in groups(overlay).items():
        spec = scaled[name]["spec"]
        assert spec["scaleTargetRef"]["name"] == name
        _, *stages = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
        followed = [trigger["metadata"] for trigger in spec["triggers"]]
        assert [(each["consumerGroup"], each["topic"]) for each in followed] == [
            (SETTINGS.kafka.group_prefix + stage, TOPICS.raw(stage)) for stage in stages
        ]
        assert {each["limitToPartitionsWithLag"] for each in followed} == {"true"}
        assert {each["offsetResetPolicy"] for each in followed} == {
            SETTINGS.kafka.auto_offset_reset
        }
        # KEDA resolves it from the container, where it comes from the ConfigMap.
        assert {each["bootstrapServersFromEnv"] for each in followed} <= settings_of(overlay).keys()


@every_overlay
def test_keda_reaches_the_brokers_as_the_pipeline_does(overlay: str) -> None:
    settings = settings_of(overlay)
    protocol = settings.get("PIPELINE_KAFKA__SECURITY_PROTOCOL", SETTINGS.kafka.security_protocol)
    wanted = {"tls": "enable"} if protocol.endswith("SSL") else {}
    if protocol.startswith("SASL"):
        mechanism = settings["PIPELINE_KAFKA__SASL_MECHANISM"]
        wanted["sasl"] = {"SCRAM-SHA-512": "scram_sha512", "PLAIN": "plaintext"}[mechanism]
    accounts = manifests(overlay, "TriggerAuthentication")
    for scaled in manifests(overlay, "ScaledObject").values():
        for trigger in scaled["spec"]["triggers"]:
            told = {key: trigger["metadata"].get(key) for key in ("sasl", "tls")}
            assert {key: value for key, value in told.items() if value} == wanted
            if "sasl" not in wanted:
                continue
            account = accounts[trigger["authenticationRef"]["name"]]["spec"]["secretTargetRef"]
            assert {(each["parameter"], each["name"], each["key"]) for each in account} == {
                ("username", "haiku-pipeline-kafka", "username"),
                ("password", "haiku-pipeline-kafka", "password"),
            }


@every_overlay
def test_replicas_reach_up_to_the_partition_count_and_never_down_to_none(overlay: str) -> None:
    partitions = int(settings_of(overlay)["PIPELINE_TOPICS__PARTITIONS"])
    for name, scaled in manifests(overlay, "ScaledObject").items():
        assert scaled["spec"]["maxReplicaCount"] == partitions
        assert scaled["spec"]["minReplicaCount"] >= 1
        assert "replicas" not in groups(overlay)[name]["spec"], "KEDA's is the only say"


@every_overlay
def test_a_rollout_moves_no_partition(overlay: str) -> None:
    session = float(settings_of(overlay)["PIPELINE_KAFKA__SESSION_TIMEOUT"])
    for group in groups(overlay).values():
        # A pod that is not ready must not keep the rollout from replacing it.
        assert group["spec"]["podManagementPolicy"] == "Parallel"
        assert group["spec"]["serviceName"] in manifests(overlay, "Service")
        [container] = group["spec"]["template"]["spec"]["containers"]
        [member] = [each for each in container["env"] if "GROUP_INSTANCE_ID" in each["name"]]
        assert member["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}
        startup = container["startupProbe"]
        assert session > 2 * SETTINGS.stream.drain_budget + startup["periodSeconds"]


@every_overlay
def test_a_group_is_disrupted_one_at_a_time(overlay: str) -> None:
    budgets = manifests(overlay, "PodDisruptionBudget")
    for name, deployment in groups(overlay).items():
        assert budgets[name]["spec"]["selector"] == deployment["spec"]["selector"]
        assert budgets[name]["spec"]["maxUnavailable"] == 1


@every_overlay
def test_a_stop_leaves_time_to_drain(overlay: str) -> None:
    for deployment in groups(overlay).values():
        grace = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        assert grace > SETTINGS.stream.drain_budget + SETTINGS.kafka.request_timeout


@every_overlay
def test_probes_ask_what_they_should(overlay: str) -> None:
    for deployment in groups(overlay).values():
        [container] = deployment["spec"]["template"]["spec"]["containers"]
        [port] = container["ports"]
        assert port == {"name": "http", "containerPort": SETTINGS.http.port}
        paths = {
            probe: container[probe]["httpGet"]["path"]
            for probe in ("startupProbe", "livenessProbe", "readinessProbe")
        }
        assert paths == {
            "startupProbe": "/healthz",
            "livenessProbe": "/healthz",
            "readinessProbe": "/readyz",
        }


@every_overlay
def test_every_pod_may_run_where_the_restricted_standard_is_enforced(overlay: str) -> None:
    [namespace] = manifests(overlay, "Namespace").values()
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for spec in pod_specs(overlay).values():
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["requests"].keys() >= {"cpu", "memory"}
            assert "memory" in container["resources"]["limits"]


@every_overlay
def test_secrets_are_named_and_not_told(overlay: str) -> None:
    secret = {"ANTHROPIC_API_KEY", "PIPELINE_KAFKA__SASL_PASSWORD", "PIPELINE_KAFKA__SASL_USERNAME"}
    assert not secret & settings_of(overlay).keys()
    for spec in pod_specs(overlay).values():
        for variable in spec["containers"][0].get("env", []):
            assert {*variable["valueFrom"]} <= {"secretKeyRef", "fieldRef"}
    assert "prod" not in overlay or manifests(overlay, "Secret") == {}


@every_overlay
def test_settings_in_the_manifests_are_settings(
    overlay: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = {
        variable["name"]
        for spec in pod_specs(overlay).values()
        for variable in spec["containers"][0].get("env", [])
    }
    for name, value in settings_of(overlay).items():
        monkeypatch.setenv(name, value)
    for name in named:
        monkeypatch.setenv(name, "x")
    Settings()  # forbids what it does not know


@every_overlay
def test_prometheus_finds_and_reaches_every_process(overlay: str) -> None:
    service = manifests(overlay, "Service")[NAME]
    monitor = manifests(overlay, "ServiceMonitor")[NAME]["spec"]
    policy = manifests(overlay, "NetworkPolicy")[NAME]["spec"]
    for deployment in groups(overlay).values():
        labels = deployment["spec"]["template"]["metadata"]["labels"].items()
        assert service["spec"]["selector"].items() <= labels
        assert policy["podSelector"]["matchLabels"].items() <= labels
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert [each["port"] for each in monitor["endpoints"]] == [
        port["name"] for port in service["spec"]["ports"]
    ]
    # What is in trouble is not ready, and is what must be seen.
    assert service["spec"]["publishNotReadyAddresses"] is True


@every_overlay
def test_the_rules_are_those_of_deploy_prometheus(overlay: str) -> None:
    [rule] = manifests(overlay, "PrometheusRule").values()
    files = [document(path) for path in sorted(RULES.glob("*.yml"))]
    assert rule["spec"]["groups"] == [group for file in files for group in file["groups"]]


def test_the_first_tier_has_more_room_where_it_decodes_files() -> None:
    limits = {
        name: each["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"]
        for name, each in groups("prod").items()
    }
    assert limits["haiku-pipeline-files"] != limits["haiku-pipeline-tickets"]


def test_resources_are_those_that_were_measured_for() -> None:
    text = (ROOT / "docs" / "OPERATIONS.md").read_text("utf-8")
    for name, deployment in groups("prod").items():
        [container] = deployment["spec"]["template"]["spec"]["containers"]
        requests, limits = (container["resources"][each] for each in ("requests", "limits"))
        row = f"| `{name}` | {requests['cpu']} | {requests['memory']} | {limits['memory']} |"
        assert row in text
        _, *stages = container["args"]
        limit = re.fullmatch(r"(\d+)(Mi|Gi)", limits["memory"])
        assert limit is not None
        assert int(limit[1]) * {"Mi": 1, "Gi": 1024}[limit[2]] == LIMITS_MIB[" ".join(stages)]


def test_memory_limits_are_what_the_formula_of_the_docs_gives() -> None:
    text = (ROOT / "docs" / "OPERATIONS.md").read_text("utf-8")
    terms = dict(re.findall(r"^\| \*(\w+)\* \| (\d+) \|", text, re.MULTILINE))
    base, times, server, child = (int(terms[name]) for name in ("base", "f", "server", "child"))
    decoding = SETTINGS.files.decoders * (SETTINGS.files.decode_memory_mib + child) + server
    payload = (SETTINGS.stream.max_in_flight_bytes >> 20) * times
    for stages, limit in LIMITS_MIB.items():
        needed = base + len(stages.split()) * payload + (decoding if stages != "tickets" else 0)
        assert limit - 512 < needed <= limit, stages


def test_every_manifest_is_used() -> None:
    folders = {path.parent for path in KUBERNETES.rglob("*.yaml")}
    for folder in folders:
        listed = document(folder / "kustomization.yaml")
        named = {Path(each).name for each in listed.get("resources", [])}
        files = {path.name for path in folder.glob("*.yaml")} - {"kustomization.yaml"}
        assert files <= named, folder
