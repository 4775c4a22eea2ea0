"""What the runbook has people type at a cluster, as far as that can be tried without one."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.deploy.documents import documents
from tests.deploy.tools import DEPLOY, ROOT, run, tool

TEXT = (ROOT / "docs" / "OPERATIONS.md").read_text("utf-8")
BLOCKS = re.findall(r"^```\w*\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
LINES = sorted({
    *re.findall(r"`(kubectl [^`\n]+)`", TEXT),
    *re.findall(r"^kubectl .+$", "\n".join(BLOCKS), re.MULTILINE),
})  # fmt: skip
NOWHERE = "127.0.0.1:9"
"""The port named discard: nothing listens on it."""


@pytest.mark.parametrize("line", LINES)
def test_kubectl_takes_what_the_runbook_has_people_type(line: str, tmp_path: Path) -> None:
    """It gets as far as asking the server: commands, options and arguments are right until then."""
    done = subprocess.run(
        [tool("kubectl"), "--server", f"http://{NOWHERE}", *shlex.split(line)[1:]],
        cwd=ROOT,
        env={**os.environ, "HOME": str(tmp_path), "KUBECONFIG": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert NOWHERE in done.stderr, done.stderr
    assert "unknown" not in done.stderr


def test_the_label_that_the_runbook_selects_by_finds_all_pods_of_the_pipeline() -> None:
    [selector] = set(re.findall(r"kubectl get pods -l (\S+?)`", TEXT))
    name, value = selector.split("=")
    built = documents(run("kubectl", "kustomize", DEPLOY / "kubernetes" / "overlays" / "prod"))
    pods = [each["spec"]["template"] for each in built if each["kind"] == "StatefulSet"]
    assert pods
    assert {pod["metadata"]["labels"].get(name) for pod in pods} == {value}


def test_a_line_that_kubectl_does_not_take_would_be_found(tmp_path: Path) -> None:
    for wrong in ("get pods --selectr x=y", "rollout restart", "logs --previous"):
        with pytest.raises(AssertionError):
            test_kubectl_takes_what_the_runbook_has_people_type(f"kubectl {wrong}", tmp_path)
