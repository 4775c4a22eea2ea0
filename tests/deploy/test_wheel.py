"""What is installed is all that is needed: the wheel, where the sources are out of reach."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from pipeline.observe.web import page_files
from tests.deploy.tools import ROOT

_LOAD = """
import json, pipeline
from importlib import resources
from pipeline.observe.web import page_files

page = resources.files("pipeline.evaluate").joinpath("report.html").read_text("utf-8")
etags = {name: asset.etag for name, asset in page_files().items()}
print(json.dumps({"from": pipeline.__file__, "etags": etags, "evaluation": len(page)}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    [built] = folder.glob("*.whl")
    return built


def test_the_wheel_has_every_file_of_the_package(wheel: Path) -> None:
    here = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "pipeline").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        assert here <= {*archive.namelist()}


def test_the_pages_are_loaded_from_what_was_installed(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)  # which is what installing a wheel of pure Python does
    printed = subprocess.run(
        [sys.executable, "-c", _LOAD],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        check=True,
        capture_output=True,
    ).stdout
    said = json.loads(printed)
    assert Path(said["from"]).is_relative_to(tmp_path)
    assert said["etags"] == {name: asset.etag for name, asset in page_files().items()}
    assert said["evaluation"] > 0
