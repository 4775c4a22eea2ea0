"""Writes what is generated in deploy/: Grafana dashboards, the PrometheusRule, the Helm chart.

Run as `.tools/bin/python -m deploy.generate`, from the root of the repository; `--check` writes
nothing and fails where a file is stale.
"""

import argparse
import sys
import tomllib
from pathlib import Path

from deploy import helm_chart, prometheus_rule
from deploy.grafana import generate as grafana

_HERE = Path(__file__).parent


def files() -> dict[Path, str]:
    """The text of each generated file."""
    dashboards = _HERE / "grafana" / "dashboards"
    made = {dashboards / name: text for name, text in grafana.files().items()}
    rule = prometheus_rule.text(sorted((_HERE / "prometheus" / "rules").glob("*.yml")))
    made[_HERE / "kubernetes" / "base" / "prometheus-rule.yaml"] = rule
    project = tomllib.loads((_HERE.parent / "pyproject.toml").read_text())["project"]
    chart = _HERE / "helm" / "haiku-pipeline"
    made |= {
        chart / name: text for name, text in helm_chart.files(project["version"], rule).items()
    }
    return made


def main() -> int:
    """Write them, or check them; 1 where one is stale."""
    parser = argparse.ArgumentParser(prog="python -m deploy.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if stale")
    made = files()
    stale = [path for path, text in made.items() if not path.exists() or path.read_text() != text]
    if parser.parse_args().check:
        for path in stale:
            sys.stderr.write(f"{path} is stale: run .tools/bin/python -m deploy.generate\n")
        return 1 if stale else 0
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(made[path])
        sys.stdout.write(f"wrote {path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
