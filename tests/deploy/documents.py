"""Reads the YAML files of deploy/."""

from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]  # its stubs are no dependency of this project

from tests.deploy.tools import DEPLOY

# libyaml's, which reads the same ten times as fast, where PyYAML comes with it.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
RULES = DEPLOY / "prometheus" / "rules"
RULE_TESTS = DEPLOY / "prometheus" / "tests"


def document(path: Path) -> dict[str, Any]:
    """The one document of a file."""
    read: dict[str, Any] = yaml.load(path.read_text("utf-8"), _LOADER)
    return read


def documents(text: str) -> list[Any]:
    """All documents of a text."""
    return [each for each in yaml.load_all(text, _LOADER) if each is not None]


def rules() -> list[dict[str, Any]]:
    """Every rule, recording and alerting."""
    return [
        rule
        for path in sorted(RULES.glob("*.yml"))
        for group in document(path)["groups"]
        for rule in group["rules"]
    ]


def alerts() -> list[dict[str, Any]]:
    """Every alerting rule."""
    return [rule for rule in rules() if "alert" in rule]
