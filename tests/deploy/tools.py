"""The programs that check deploy/: those of `deploy/tools/install`, or of the machine."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
BIN = ROOT / ".tools" / "bin"

_REQUIRED = {
    "alertmanager": "PIPELINE_REQUIRE_PROMETHEUS",
    "amtool": "PIPELINE_REQUIRE_PROMETHEUS",
    "prometheus": "PIPELINE_REQUIRE_PROMETHEUS",
    "promtool": "PIPELINE_REQUIRE_PROMETHEUS",
}
# What is built from source, in minutes: deploy/tools/install-go.
_REQUIRED |= dict.fromkeys(("helm", "kube-score"), "PIPELINE_REQUIRE_GO_TOOLS")
_REQUIRED_OTHERS = "PIPELINE_REQUIRE_DEPLOY_TOOLS"


def tool(name: str) -> str:
    """Where a program is; skips the test without it, or fails it where it is required."""
    installed = BIN / name
    found = str(installed) if installed.exists() else shutil.which(name)
    if found is not None:
        return found
    script = "install-go" if "GO" in _REQUIRED.get(name, "") else "install"
    missing = f"{name} is not here: deploy/tools/{script} brings it"
    if os.environ.get(_REQUIRED.get(name, _REQUIRED_OTHERS)) == "1":
        pytest.fail(missing)
    pytest.skip(missing)


def run(
    name: str, *arguments: str | Path, env: Mapping[str, str] | None = None, stdin: str = ""
) -> str:
    """Run a program in the root folder; what it printed, where it succeeded."""
    done = subprocess.run(
        [tool(name), *map(str, arguments)],
        cwd=ROOT,
        # Most are Go's and end soon: they need not collect garbage as often as services do.
        env={"GOGC": "400", **os.environ, **(env or {})},
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, f"{name} failed:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def run_python(*arguments: str | Path, stdin: str = "") -> str:
    """Run Python with the libraries of `deploy/tools/install`; only there are they."""
    if not (BIN / "python").exists():
        tool("the Python of .tools")
    return run(str(BIN / "python"), *arguments, stdin=stdin)
