"""Can the settings be read, and are they the ones that were meant?"""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from pipeline.doctor.check import Site
from pipeline.doctor.finding import Finding, failed, ok, warning
from pipeline.settings import Settings
from pipeline.stages.registry import build_stages
from pipeline.stream.topics import ESCALATIONS

_PREFIX = "PIPELINE_"
_NOT_SETTINGS = ("PIPELINE_LOCAL_", "PIPELINE_REQUIRE_")
"""Of the local brokers, and of the tests."""


def unreadable(error: Exception) -> Finding:
    """The settings are wrong."""
    return failed(
        "settings",
        str(error),
        why="Nothing starts with settings that are wrong.",
        advice="Mend the variable (PIPELINE_SECTION__NAME) or the line of pipeline.toml; the "
        "settings are explained in pipeline/settings.",
    )


def check_settings(site: Site) -> Iterator[Finding]:
    """Variables that are meant as settings and are none, and where the settings came from."""
    stray = list(_stray(site.environment))
    yield from stray
    if not stray:
        file = Path("pipeline.toml")
        where = f"{file.resolve()} and" if file.is_file() else "no pipeline.toml here, so"
        yield ok("settings", f"They can be read: {where} the environment over the defaults.")


def _stray(environment: Mapping[str, str]) -> Iterator[Finding]:
    sections = [name.upper() for name in Settings.model_fields]
    for name in sorted(environment):
        if not name.startswith(_PREFIX) or name.startswith(_NOT_SETTINGS):
            continue
        section = name.removeprefix(_PREFIX).partition("__")[0]
        if section in sections:
            continue
        alike = difflib.get_close_matches(section, sections, n=1, cutoff=0.6)
        hint = f"Did you mean {_PREFIX}{alike[0]}?" if alike else "There is no such setting."
        yield warning(
            "settings",
            f"The variable {name} is set, and {section.lower()} is no section of the settings.",
            why="It changes nothing, and what it was meant to change has its default.",
            advice=f"{hint} Sections and names are joined by two underscores: "
            "PIPELINE_KAFKA__BOOTSTRAP_SERVERS.",
        )


def check_stages(site: Site) -> Iterator[Finding]:
    """Stages that are enabled and are none, and escalations that nobody would read."""
    enabled = site.settings.enabled
    known = [*build_stages(site.settings.stages), ESCALATIONS]
    unknown = [name for name in enabled if name not in known]
    if unknown or not enabled:
        yield failed(
            "stages",
            f"There is no stage {', '.join(unknown)}." if unknown else "No stage is enabled.",
            why="`pipeline run` would not start.",
            advice=f"Set `enabled` to some of {', '.join(known)}.",
        )
    elif ESCALATIONS not in enabled:
        yield warning(
            "stages",
            "`escalations` is not enabled.",
            why="What Haiku's answer is not trusted on waits in its topic until somebody reads it.",
            advice="Add `escalations` to `enabled`, or run it elsewhere: "
            "`pipeline run escalations`.",
        )
    else:
        yield ok("stages", f"Enabled: {', '.join(enabled)}.")


def check_members(site: Site) -> Iterable[Finding]:
    """Static membership where it does no good."""
    kafka = site.settings.kafka
    if kafka.group_instance_id is None:
        return [ok("membership", "Members of the groups are told apart by the brokers.")]
    return [
        warning(
            "membership",
            f"kafka.group_instance_id is set ({kafka.group_instance_id}): static membership.",
            why="Two processes with the same one throw each other out, again and again; and when "
            f"one dies, its partitions wait for kafka.session_timeout ({kafka.session_timeout:g} "
            "s) before another takes them.",
            advice="Give each process its own, for instance the name of its pod, or unset it. "
            "`--workers` adds a number of its own to it.",
        )
    ]
