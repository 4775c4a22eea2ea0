"""docs/PROVIDERS.md says of each platform what the program's own table says."""

import re
import tomllib
from typing import get_args

import pytest

from pipeline.claude.providers import PROVIDERS
from pipeline.config import ModelSettings, Provider
from tests.deploy.tools import ROOT

DOCUMENT = ROOT / "docs" / "PROVIDERS.md"
_TABLE = re.compile(r"(?<=<!-- providers -->\n).*?(?=<!-- end: providers -->)", re.DOTALL)
_PASTE = re.compile(r"^```toml\n(.*?)^```", re.MULTILINE | re.DOTALL)
MOST_LINES = 5


def table() -> str:
    """What each platform has, as the document shows it."""
    columns = (
        "provider", "batches", "tokens counted", "list of models", "prompt cache",
        "answers in form", "rate headers", "largest request",
    )  # fmt: skip
    rows = [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
    for name, traits in PROVIDERS.items():
        has = (
            traits.batches,
            traits.count_route is not None,
            traits.models_list,
            traits.prompt_cache,
            traits.structured_outputs,
            traits.rate_headers,
        )
        cells = [f"`{name}`", *("yes" if each else "no" for each in has)]
        rows.append(f"| {' | '.join(cells)} | {traits.largest_request >> 20} MiB |")
    return "\n".join(rows) + "\n"


def test_the_table_is_that_of_the_program() -> None:
    assert _TABLE.findall(DOCUMENT.read_text("utf-8")) == [table()]


@pytest.mark.parametrize("text", _PASTE.findall(DOCUMENT.read_text("utf-8")))
def test_what_is_to_be_pasted_is_short_and_taken(text: str) -> None:
    lines = [line for line in text.splitlines() if not line.startswith("[")]
    assert len(lines) <= MOST_LINES
    models = tomllib.loads(text)["models"]
    models["haiku"].setdefault("model", "claude-haiku-5-5")
    ModelSettings.model_validate(models)


def test_there_is_something_to_paste_for_every_platform() -> None:
    texts = "".join(_PASTE.findall(DOCUMENT.read_text("utf-8")))
    found = set(re.findall(r'^provider = "(.+?)"', texts, re.MULTILINE))
    assert found == set(get_args(Provider)) - {"anthropic"}


if __name__ == "__main__":
    DOCUMENT.write_text(_TABLE.sub(lambda _: table(), DOCUMENT.read_text("utf-8")), "utf-8")
