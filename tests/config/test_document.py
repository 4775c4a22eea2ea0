"""docs/SETTINGS.md has every setting, and is what the settings say."""

import re
from pathlib import Path

import pytest

from pipeline.config import ModelSettings, Settings, StagesSettings
from pipeline.config.document import document, main
from tests.config.tree import leaves

PAGE = Path(__file__).parents[2] / "docs" / "SETTINGS.md"


def test_the_page_is_what_the_settings_say() -> None:
    assert PAGE.read_text("utf-8") == document()


def test_a_stale_page_fails_the_check_and_says_what_to_do(tmp_path: Path) -> None:
    page = tmp_path / "SETTINGS.md"
    main(page)
    main(page, check=True)
    page.write_text(page.read_text("utf-8").replace("`30`", "`31`"), "utf-8")
    with pytest.raises(SystemExit, match=r"SETTINGS\.md is not what .*: run `make settings`"):
        main(page, check=True)


def test_every_setting_is_on_the_page_by_its_variable_and_nothing_else_is() -> None:
    shown = re.findall(r"^\| `\w+` \| `PIPELINE_([\w<>]+)` \|", document(), re.MULTILINE)
    assert len(shown) == len(set(shown))
    everywhere = {
        name.replace(placeholder, each.upper())
        for placeholder, table in (("<STAGE>", StagesSettings), ("<TIER>", ModelSettings))
        for name in shown
        for each in table.model_fields
        if placeholder in name
    }
    there_are = {name.replace(".", "__").upper() for name in leaves(Settings)}
    assert {name for name in shown if "<" not in name} <= there_are
    assert there_are <= {*shown, *everywhere}
