"""Gives the rules of deploy/prometheus/rules as the resource that Prometheus' operator takes."""

from collections.abc import Sequence
from pathlib import Path

import yaml

_HEADER = "# Generated from deploy/prometheus/rules by `python -m deploy.generate`.\n"


class _Dumper(yaml.SafeDumper):
    """Texts of several lines are written as such."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def text(rules: Sequence[Path]) -> str:
    """The resource with the groups of these files, in their order."""
    resource = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "haiku-pipeline"},
        "spec": {
            "groups": [
                group for path in rules for group in yaml.safe_load(path.read_text())["groups"]
            ]
        },
    }
    return _HEADER + yaml.dump(resource, Dumper=_Dumper, sort_keys=False, width=100)
