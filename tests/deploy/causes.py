"""The causes of deploy/prometheus/tests/causes.yml: what fires for each, and what is notified.

`python -m tests.deploy.causes` writes their table into docs/OPERATIONS.md.
"""

import re
from dataclasses import dataclass

from tests.deploy.documents import RULE_TESTS, document
from tests.deploy.tools import ROOT

DOCUMENT = ROOT / "docs" / "OPERATIONS.md"
_TABLE = re.compile(r"(?<=<!-- causes -->\n).*?(?=<!-- end: causes -->)", re.DOTALL)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True)
class Alert:
    """One that fires: its labels, and minutes from the cause to it."""

    labels: dict[str, str]
    after: float

    @property
    def name(self) -> str:
        return self.labels["alertname"]


@dataclass(frozen=True)
class Cause:
    """What happens, the alert that is notified, if any, and all that fire within 22 minutes."""

    name: str
    notified: str | None
    alerts: tuple[Alert, ...]

    def first(self, alert: str) -> Alert:
        """The first of that name."""
        return min((each for each in self.alerts if each.name == alert), key=lambda one: one.after)


def causes() -> list[Cause]:
    """All of them, as `promtool` holds them against the rules."""
    found = []
    for test in document(RULE_TESTS / "causes.yml")["tests"]:
        name, _, notified = test["name"].rpartition(": ")
        [check] = test["promql_expr_test"]
        alerts = tuple(
            Alert(dict(_LABEL.findall(sample["labels"])), sample["value"])
            for sample in check["exp_samples"]
        )
        found.append(Cause(name, None if notified == "nothing" else notified, alerts))
    return found


def table() -> str:
    """The causes as the runbook shows them."""
    rows = [
        "| what happens | what is notified | after | fires too, and is inhibited |",
        "| --- | --- | --- | --- |",
    ]
    for cause in causes():
        if cause.notified is None:
            rows.append(f"| {cause.name} | nothing | | |")
            continue
        first = cause.first(cause.notified)
        others = {each.name: cause.first(each.name) for each in cause.alerts}
        others.pop(cause.notified)
        inhibited = ", ".join(f"{name} ({minutes(one)})" for name, one in others.items())
        link = f"[{cause.notified}](#{cause.notified.lower()}), {first.labels['severity']}"
        rows.append(f"| {cause.name} | {link} | {minutes(first)} | {inhibited} |")
    return "\n".join(rows) + "\n"


def minutes(alert: Alert) -> str:
    """When it fires, as a reader says it."""
    return "before" if alert.after < 0 else f"{alert.after:g} min"


def documented() -> str:
    """The table that the runbook has."""
    [found] = _TABLE.findall(DOCUMENT.read_text("utf-8"))
    text: str = found
    return text


if __name__ == "__main__":
    DOCUMENT.write_text(_TABLE.sub(lambda _: table(), DOCUMENT.read_text("utf-8")), "utf-8")
