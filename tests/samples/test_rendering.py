import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageStat

from tests.samples.index import SAMPLES

PICTURES = {".png", ".jpg", ".gif", ".webp"}
# What writes these bytes is the project's own, so they are the same on every machine.
OWN_BYTES = {".pdf", ".json", ".txt"}
NEARLY_EQUAL = 2.0


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two folders, each rendered by a process of its own."""
    folders = tmp_path_factory.mktemp("first"), tmp_path_factory.mktemp("second")
    command = [sys.executable, "-B", str(SAMPLES / "render.py"), "--into"]
    processes = [subprocess.Popen([*command, str(folder)]) for folder in folders]
    assert [process.wait(timeout=60) for process in processes] == [0, 0]
    return folders


def files(folder: Path) -> dict[str, Path]:
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path for path in found}


def test_rendering_twice_gives_the_same_bytes(rendered: tuple[Path, Path]) -> None:
    first, second = (files(folder) for folder in rendered)

    assert {name: path.read_bytes() for name, path in first.items()} == {
        name: path.read_bytes() for name, path in second.items()
    }


def test_what_is_checked_in_is_what_is_rendered(rendered: tuple[Path, Path]) -> None:
    for name, path in files(rendered[0]).items():
        kept = SAMPLES / name
        own = path.suffix in OWN_BYTES and name != "broken/encrypted.pdf"
        assert kept.is_file(), name
        if own:
            assert kept.read_bytes() == path.read_bytes(), name
        elif path.suffix in PICTURES and path.parent.name != "broken":
            assert _difference(kept, path) < NEARLY_EQUAL, name


def _difference(one: Path, other: Path) -> float:
    """Mean difference of two pictures, 0 to 255; encoders differ from version to version."""
    with Image.open(one) as left, Image.open(other) as right:
        assert left.size == right.size
        difference = ImageChops.difference(left.convert("L"), right.convert("L"))
        return ImageStat.Stat(difference).mean[0]
