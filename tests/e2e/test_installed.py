"""The wheel, installed without the repository, shows the demo."""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def output_of(*command: str | Path, cwd: Path, **environment: str) -> str:
    """What a command prints on standard output; it has to succeed."""
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **environment}, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode() + done.stdout.decode()
    return done.stdout.decode()


def installed(folder: Path) -> Path:
    """The programs of an environment with the wheel in it, and the packages it needs beside it."""
    python = sys.executable
    output_of(python, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=ROOT)
    [wheel] = folder.glob("*.whl")
    venv.create(folder / "env", with_pip=False)
    programs = folder / "env" / "bin"
    pip = (python, "-m", "pip", "--python", programs / "python", "--disable-pip-version-check")
    output_of(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=folder)
    [packages] = (folder / "env" / "lib").glob("python*/site-packages")
    # Their own .pth files are not read, so what is installed from the repository stays outside.
    needed = [path for path in sys.path if Path(path).name == "site-packages"]
    (packages / "needed.pth").write_text("\n".join(needed))
    return programs


@pytest.mark.timeout(240)
def test_the_demo_accounts_for_every_event_in_an_empty_folder_and_leaves_it_empty(
    tmp_path: Path,
) -> None:
    programs = installed(tmp_path)
    folders = {name: tmp_path / name for name in ("here", "home", "temporary")}
    for folder in folders.values():
        folder.mkdir()
    environment = {
        "HOME": str(folders["home"]),
        "TMPDIR": str(folders["temporary"]),
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PIPELINE_HTTP__PORT": "0",
    }
    code = "import pipeline; print(pipeline.__file__)"
    found = output_of(programs / "python", "-c", code, cwd=folders["here"], **environment)
    assert Path(found.strip()).is_relative_to(tmp_path)

    printed = output_of(
        *(programs / "pipeline", "demo", "--short", "--json"), cwd=folders["here"], **environment
    )

    summary = json.loads(printed)
    assert summary["ok"] is True
    assert summary["simulated"] is True
    published = sum(stage["published"] for stage in summary["stages"].values())
    assert len(summary["stages"]) == 7
    assert sum(stage["haiku"] for stage in summary["stages"].values()) > published / 2
    assert list(folders["here"].iterdir()) == []
    assert list(folders["home"].iterdir()) == []
    records = Path(summary["records"])
    assert list(folders["temporary"].iterdir()) == [records]
    lines = (records / "tickets.enriched.jsonl").read_text().splitlines()
    assert {json.loads(line)["stage"] for line in lines} == {"tickets"}
