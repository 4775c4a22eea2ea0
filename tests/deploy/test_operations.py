import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from pipeline.config import InvoiceSettings, Settings
from pipeline.model.records import DeadLetterReason
from tests.deploy.commands import commands
from tests.deploy.tools import ROOT

TEXT = (ROOT / "docs" / "OPERATIONS.md").read_text("utf-8")
CODE = re.findall(r"`([^`\n]+)`", TEXT)

DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
OPTION = re.compile(r"(?<!\S)--[a-z][a-z-]*")


def anchors() -> set[str]:
    headings = re.findall(r"^#+ (.+)$", TEXT, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_links_lead_somewhere() -> None:
    assert set(re.findall(r"\]\(#([^)]+)\)", TEXT)) <= anchors()


def test_settings_that_it_names_exist() -> None:
    sections = "|".join(Settings.model_fields)
    named = {each for each in CODE if re.fullmatch(rf"({sections})\.[\w.<>]+", each)}
    assert named
    assert {each for each in named if not exists(each.split("."))} == set()


def exists(path: list[str]) -> bool:
    model: type[BaseModel] = Settings
    for name in path:
        if name == "<stage>":
            model = InvoiceSettings  # has what every stage has, and what stages of files have
            continue
        field = model.model_fields.get(name)
        if field is None:
            return False
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            model = field.annotation
    return True


@pytest.mark.parametrize("reason", [reason.value for reason in DeadLetterReason])
def test_every_reason_of_a_dead_letter_has_advice(reason: str) -> None:
    assert f"`{reason}`" in TEXT


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_commands_and_options_that_documents_name_exist(path: Path) -> None:
    known = commands()
    wrong = []
    for line in command_lines(path.read_text("utf-8")):
        words = line.split()
        command = next((each for each in (" ".join(words[:2]), words[0]) if each in known), None)
        if command is None:
            wrong.append(line)
            continue
        options = {opt for param in known[command].params for opt in options_of(param)}
        wrong += [f"{line}: {each}" for each in OPTION.findall(line) if each not in options]
    assert wrong == []


def command_lines(text: str) -> list[str]:
    """What follows `pipeline` in code, inline and in blocks."""
    code = re.findall(r"`pipeline ([a-z][^`\n]*)`", text)
    for block in re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        code += re.findall(r"^(?:\$ )?(?:\S*/)?pipeline ([a-z][^#|>\n]*)", block, re.MULTILINE)
    return code


def options_of(param: Any) -> list[str]:  # noqa: ANN401 - click's own types are not exported
    return [*param.opts, *param.secondary_opts, "--help"]


def test_bare_options_of_the_desks_exist() -> None:
    """Options in the sections on dead letters and reviews, named without their command."""
    known = commands()
    for heading, group in (("Dead letters", "dead-letters"), ("Review", "review")):
        section = TEXT.split(f"\n## {heading}\n")[1].split("\n## ")[0]
        options = {
            option
            for name, command in known.items()
            if name.startswith(f"{group} ")
            for param in command.params
            for option in options_of(param)
        }
        named = {
            each for code in re.findall(r"`(--[^`]+)`", section) for each in OPTION.findall(code)
        }
        assert named
        assert named <= options
