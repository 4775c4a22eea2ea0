"""Which releases of Anthropic's SDK may be installed: those that are tested, and between."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def version(text: str) -> tuple[int, ...]:
    found = re.search(r"^anthropic==([\d.]+)", text, re.MULTILINE)
    assert found is not None
    return tuple(map(int, found[1].split(".")))


def test_the_oldest_release_that_may_be_installed_is_tested_and_the_locked_one_is_newer() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    (sdk,) = [each for each in project["dependencies"] if each.startswith("anthropic")]
    oldest = version((ROOT / "tests" / "sdk" / "oldest.txt").read_text("utf-8"))
    assert f">={oldest[0]}.{oldest[1]}," in sdk
    assert version((ROOT / "requirements.lock").read_text("utf-8")) > oldest
