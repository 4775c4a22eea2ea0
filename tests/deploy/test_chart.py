"""The Helm chart, and what others' linters say of the manifests."""

import re
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]  # its stubs are no dependency of this project

from tests.deploy.documents import documents
from tests.deploy.test_manifests import KUBERNETES, VERSIONS, built
from tests.deploy.tools import DEPLOY, run, run_python

CHART = DEPLOY / "helm" / "haiku-pipeline"
# The name of the ConfigMap ends with a hash of its content, which each makes in a way of its own.
CONFIG = re.compile(r"\bhaiku-pipeline-(?=\w*\d)[a-z0-9]{10}\b")


def by_name(text: str) -> dict[tuple[str, str], Any]:
    objects = documents(CONFIG.sub("CONFIG", text))
    return {(each["kind"], each["metadata"]["name"]): each for each in objects}


def test_the_chart_gives_the_objects_of_the_base() -> None:
    run("helm", "lint", "--strict", CHART)
    chart = by_name(run("helm", "template", "pipeline", CHART))
    assert chart == by_name(run("kubectl", "kustomize", KUBERNETES / "base"))


def test_the_chart_takes_an_image_settings_topics_and_an_account_for_keda(tmp_path: Path) -> None:
    image = f"registry.example.com/pipeline@sha256:{'0' * 64}"
    values = {
        "image": image,
        "minReplicas": 2,
        "settings": {"PIPELINE_TOPICS__PARTITIONS": "24"},
        "topics": {"tickets": ["crm.cases", "crm.mails"], "images": [""]},
        "keda": {"metadata": {"tls": "enable"}, "authentication": "haiku-pipeline-kafka"},
    }
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(values))
    text = run("helm", "template", "pipeline", CHART, "--values", tmp_path / "values.yaml")
    run_python("-m", "deploy.tools.validate_manifests", *VERSIONS, stdin=text)
    made = by_name(text)
    followed = {
        (trigger["metadata"]["consumerGroup"], trigger["metadata"].get("topic"))
        for (kind, _), each in made.items()
        if kind == "ScaledObject"
        for trigger in each["spec"]["triggers"]
    }
    assert followed == {
        *(("pipeline.tickets", topic) for topic in ("crm.cases", "crm.mails")),
        ("pipeline.images", None), ("pipeline.invoices", "invoices.raw"),
        ("pipeline.escalations", "escalations"),
    }  # fmt: skip
    for (kind, _), each in made.items():
        if kind == "StatefulSet":
            [container] = each["spec"]["template"]["spec"]["containers"]
            assert container["image"] == image
        if kind == "ScaledObject":
            assert (each["spec"]["minReplicaCount"], each["spec"]["maxReplicaCount"]) == (2, 24)
            for trigger in each["spec"]["triggers"]:
                assert trigger["metadata"]["tls"] == "enable"
                assert trigger["authenticationRef"] == {"name": "haiku-pipeline-kafka"}


def test_kube_score_has_nothing_critical_to_say() -> None:
    run(
        "kube-score", "score", "-",
        "--ignore-container-cpu-limit",  # a limit makes heartbeats late: see "Memory and CPU"
        "--ignore-test", "container-image-pull-policy",  # an image by its digest is what it is
        stdin=built("prod"),
    )  # fmt: skip
