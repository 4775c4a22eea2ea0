"""What the documents show works: links and paths lead somewhere, and settings are taken."""

import re
import tomllib
from pathlib import Path

import pytest

from pipeline.config import load_settings
from tests.docs import images, rooms

ROOT = Path(__file__).parents[2]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
ARCHITECTURE = ROOT / "docs" / "ARCHITECTURE.md"
FOLDERS = "benchmarks|deploy|docs|examples|pipeline|samples|schemas|tests"
PATH = re.compile(rf"`((?:{FOLDERS})/[\w./-]*)`")
MODULES = {path.name for folder in FOLDERS.split("|") for path in (ROOT / folder).rglob("*.py")}
CODE_NAME = re.compile(r"`([A-Z]\w*[a-z]\w*)(?:\.(\w+)\(\))?`")
SETTINGS = [
    pytest.param(block, id=f"{path.name}-{number}")
    for path in DOCUMENTS
    for number, block in enumerate(
        re.findall(r"```toml\n(.*?)```", path.read_text("utf-8"), re.DOTALL)
    )
    if not block.startswith("[project")
]


def anchors(document: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", document.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files_and_headings_that_exist(document: Path) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text("utf-8")):
        if link.startswith("http"):
            continue
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("block", SETTINGS)
def test_settings_that_are_shown_are_taken(block: str) -> None:
    load_settings(**tomllib.loads(block))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_paths_and_modules_that_are_named_exist(document: Path) -> None:
    text = document.read_text("utf-8")
    strange = [path for path in PATH.findall(text) if not (ROOT / path).exists()]
    modules = re.findall(r"`(\w+\.py)`", text)
    assert strange + [module for module in modules if module not in MODULES] == []


def test_names_in_the_architecture_stand_in_a_file_that_their_line_names() -> None:
    strange = []
    for line in ARCHITECTURE.read_text("utf-8").splitlines():
        files = [ROOT / path for path in PATH.findall(line) if path.endswith(".py")]
        code = "\n".join(path.read_text("utf-8") for path in files)
        for name, method in CODE_NAME.findall(line) if files else ():
            if not re.search(rf"\b{name}\b", code) or (method and f"def {method}(" not in code):
                strange.append(f"{name} {method}".strip())
    assert strange == []


def test_what_pictures_cost_is_computed_at_the_prices_of_the_table() -> None:
    assert images.DOCUMENT.read_text("utf-8") == images.document(), (
        "run python -m tests.docs.images"
    )


def test_the_picture_of_the_rooms_is_that_of_the_import_contract() -> None:
    assert rooms.PICTURE.read_text("utf-8") == rooms.picture(), "run python -m tests.docs.rooms"
    assert set(rooms.STEPS) <= {room for row in rooms.layers() for room in row}


def test_every_target_of_the_makefile_is_explained_by_make_help() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    (phony,) = re.findall(r"^\.PHONY: ((?:.*\\\n)*.*)$", makefile, re.MULTILINE)
    explained = re.findall(r"^([a-z-]+):.*  ## \S", makefile, re.MULTILINE)
    assert sorted(explained) == sorted(phony.replace("\\\n", " ").split())


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_targets_that_are_named_exist(document: Path) -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    named = re.findall(r"(?:`|^)make ([a-z-]+)", document.read_text("utf-8"), re.MULTILINE)
    assert [name for name in named if f"\n{name}:" not in makefile] == []
