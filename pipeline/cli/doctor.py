"""`pipeline doctor`."""

import typer

from pipeline.cli.options import Json


def doctor(json: Json = False) -> None:
    """Look for what is wrong with this installation, and say what to do."""
    from pipeline.doctor import CHECKS, Finding, Verdict, examine
    from pipeline.runtime import console

    def show(finding: Finding) -> None:
        if json:
            return
        console.line(f"{finding.verdict.value:<8} {finding.about}: {finding.detail}")
        for text in (finding.why, finding.advice):
            if text:
                console.line(f"{'':<8} {text}")

    findings = console.run(examine(show, CHECKS))
    if json:
        console.as_json(findings)
    if any(finding.verdict is Verdict.FAILED for finding in findings):
        raise typer.Exit(console.FAILED)
