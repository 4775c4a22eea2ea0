"""`pipeline doctor`."""

import typer

from pipeline.cli.options import Json


def doctor(json: Json = False) -> None:
    """Look for what is wrong with this installation, and say what to do."""
    from pipeline import console
    from pipeline.doctor.examination import examine
    from pipeline.doctor.finding import Finding, Verdict

    async def look() -> list[Finding]:
        findings = []
        async for finding in examine():
            findings.append(finding)
            if not json:
                console.line(f"{finding.verdict.value:<8} {finding.about}: {finding.detail}")
        return findings

    findings = console.run(look())
    if json:
        console.as_json(findings)
    if any(finding.verdict is Verdict.FAILED for finding in findings):
        raise typer.Exit(console.FAILED)
