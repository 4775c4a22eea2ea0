import re

import pytest
from pydantic import BaseModel
from typer.main import get_command

from pipeline.cli import app
from pipeline.events import DeadLetterReason
from pipeline.settings import InvoiceSettings, Settings
from tests.deploy.tools import ROOT

TEXT = (ROOT / "docs" / "OPERATIONS.md").read_text("utf-8")
CODE = re.findall(r"`([^`\n]+)`", TEXT)

_AGREED = {"evaluate"}
"""Commands of the contract that need not be there yet."""


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


def test_commands_that_it_names_exist() -> None:
    named = set(re.findall(r"`pipeline ([a-z-]+)", TEXT))
    commands = get_command(app)
    known = getattr(commands, "commands").keys()  # noqa: B009 - click's own types are not exported
    assert named - known <= _AGREED
