"""The schema registry: whether it can be asked, and whether it has the schemas of results."""

from collections.abc import AsyncIterator

from pipeline.doctor.examination import Finding, Site, failed, ok
from pipeline.inputs.formats import open_format
from pipeline.inputs.outputs import REGISTER, Target, register, targets
from pipeline.inputs.registry import SchemaRegistry
from pipeline.kafka.topics import TopicNames
from pipeline.model.errors import PipelineError
from pipeline.stages.api import build_stages

_PROBE = "haiku-pipeline-probe"
"""A subject that there is not: that it is not there takes an answer, and no permission to write."""


async def check_registry(site: Site) -> AsyncIterator[Finding]:
    """Finds a schema registry that is not set, cannot be asked or refuses the account; a schema of
    results that it does not have, or would not take.
    """
    settings = site.settings
    names, stages = TopicNames.under(settings), build_stages(settings.stages)
    wanted: list[Target] = []
    readers: list[str] = []
    try:
        for name in settings.enabled:
            table = settings.stages.of(name)
            if table is None or name not in stages:
                continue
            if table.input.format == "registry":
                open_format(table.input, settings.registry)
                readers.append(name)
            if table.output.format != "json":
                wanted += targets(stages[name], table, names.enriched(name))
        if not readers and not wanted:
            return
        await SchemaRegistry(settings.registry).latest(_PROBE)
        plans = await register(wanted, settings.registry, dry_run=True)
    except PipelineError as error:
        yield failed(
            str(error),
            why="Records of a registry's formats wait, and what publishes them does not start.",
            advice="See [registry] in docs/SETTINGS.md; the account must be allowed to read.",
        )
        return
    missing = [plan for plan in plans if plan.change != "none"]
    for plan in missing:
        yield failed(
            plan.sentence(dry_run=True),
            why="`pipeline run` does not start without it.",
            advice=f"Run `{REGISTER}`."
            if plan.change != "incompatible"
            else "See docs/OUTPUTS.md for what may change.",
        )
    if not missing:
        yield ok(
            f"It answers, and has the schemas of results: {len(plans)} subjects."
            if plans
            else f"It answers; records of {', '.join(readers)} are read by its schemas."
        )
