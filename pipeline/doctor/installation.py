"""What shows without asking anybody: the settings, this machine, the packages."""

import difflib
import importlib.util
import os
import resource
import socket
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.cascade.certified import stage_state
from pipeline.cascade.policy import Policy
from pipeline.cascade.reading import adapter_of
from pipeline.claude.gateway import SPARE_CONNECTIONS
from pipeline.config import FileSettings, Settings
from pipeline.config.settings import files_of_settings
from pipeline.doctor.examination import Finding, Site, failed, ok, warning
from pipeline.kafka.sasl import EXTRAS
from pipeline.kafka.topics import ESCALATIONS
from pipeline.model.errors import UsageError
from pipeline.observe.web import is_loopback
from pipeline.stages.api import build_stages
from pipeline.stages.checks import scope
from pipeline.trust.certificate_file import read_certificates

_PREFIX = "PIPELINE_"
_NOT_SETTINGS = ("PIPELINE_LOCAL_", "PIPELINE_REQUIRE_")
"""Beginnings of variables that local brokers and the tests read."""
_OTHER_FILES = 64
"""Open files of the interpreter, libraries, the log, the HTTP port and its clients."""
_CONNECTIONS_OF_A_PARTITION = 3
"""Its transactional producer holds them: a leader, a coordinator, and another leader."""
BASE64 = 4 / 3
"""The JSON of an escalation is larger than the event by this factor."""
_ENVELOPE = 64 << 10
"""Bytes, more than an escalation record adds to the event: doubts, a result, the source."""


def check_settings(site: Site) -> Iterator[Finding]:
    """Finds a value that cannot be, a name in pipeline.toml that is not a setting, a file that is
    not TOML, a variable PIPELINE_... that looks like a setting and is not.
    """
    sections = [name.upper() for name in Settings.model_fields]
    found = []
    for name in sorted(site.environment):
        section = name.removeprefix(_PREFIX).partition("__")[0]
        if not name.startswith(_PREFIX) or name.startswith(_NOT_SETTINGS) or section in sections:
            continue
        alike = difflib.get_close_matches(section, sections, n=1, cutoff=0.6)
        hint = f"Did you mean {_PREFIX}{alike[0]}?" if alike else "There is no such setting."
        found.append(
            warning(
                f"The variable {name} is set, and {section.lower()} is no section of the settings.",
                why="It changes nothing, and what it was meant to change has its default.",
                advice=f"{hint} Sections and names are joined by two underscores: "
                "PIPELINE_KAFKA__BOOTSTRAP_SERVERS.",
            )
        )
    files = [str(file.resolve()) for file in files_of_settings() if file.is_file()]
    source = f"{', '.join(files)} and" if files else "no pipeline.toml here, so"
    yield from found or [ok(f"They can be read: {source} the environment over the defaults.")]


def check_stages(site: Site) -> Iterator[Finding]:
    """Finds a stage in `enabled` that does not exist, or whose mapping names a field that it does
    not read; escalations that nobody would read.
    """
    enabled = site.settings.enabled
    known = [*build_stages(site.settings.stages), ESCALATIONS]
    unknown = [name for name in enabled if name not in known]
    if unknown or not enabled:
        yield failed(
            f"There is no stage {', '.join(unknown)}." if unknown else "No stage is enabled.",
            why="`pipeline run` would not start.",
            advice=f"Set `enabled` to some of {', '.join(known)}.",
        )
    elif (wrong := _wrong_mapping(site.settings, enabled)) is not None:
        yield failed(
            wrong,
            why="`pipeline run` would not start.",
            advice="`pipeline map STAGE --sample FILE` shows what comes of a mapping.",
        )
    elif ESCALATIONS not in enabled:
        yield warning(
            "`escalations` is not enabled.",
            why="What Haiku's answer is not trusted on waits in its topic until it is read.",
            advice="Add `escalations` to `enabled`, or run it elsewhere: "
            "`pipeline run escalations`.",
        )
    else:
        yield ok(f"Enabled: {', '.join(enabled)}.")


def _wrong_mapping(settings: Settings, enabled: Sequence[str]) -> str | None:
    """Why the records of a stage cannot be read with its settings."""
    stages = build_stages(settings.stages)
    try:
        for name in enabled:
            if name in stages:
                adapter_of(settings, stages[name])
    except UsageError as error:
        return str(error)
    return None


def check_extras(site: Site) -> Iterator[Finding]:
    """Finds a package that a setting needs and that is not installed; the extra `local` missing."""
    if site.settings.tracing.endpoint is not None and not is_installed("opentelemetry.sdk"):
        yield failed(
            "tracing.endpoint is set, and OpenTelemetry's SDK is not installed.",
            why="`pipeline run` does not start without it.",
            advice="`pip install 'haiku-pipeline[otel]'`, or unset it.",
        )
    if site.settings.escalation.scope == "encoder" and not scope.is_encoder_installed():
        yield failed(
            "escalation.scope is `encoder`, and the encoder is not installed.",
            why="`pipeline run` does not start without it.",
            advice="`pip install 'haiku-pipeline[encoder]'`, or set it to `words`.",
        )
    kafka = site.settings.kafka
    if kafka.security_protocol.startswith("SASL_") and kafka.sasl_mechanism in EXTRAS:
        extra, module = EXTRAS[kafka.sasl_mechanism]
        if not is_installed(module):
            yield failed(
                f"kafka.sasl_mechanism is {kafka.sasl_mechanism}, whose package is not installed.",
                why="No broker can be connected to without it.",
                advice=f"`pip install 'haiku-pipeline[{extra}]'`.",
            )
    tables = site.settings.stages.by_name()
    split = [name for name, table in tables.items() if getattr(table, "split", False)]
    if split and not is_installed("pypdfium2"):
        yield failed(
            f"stages.{split[0]}.split is set, and PDFium, which shows pages, is not installed.",
            why="`pipeline run` does not start without it.",
            advice="`pip install 'haiku-pipeline[split]'`, or unset it.",
        )
    if site.settings.desk.access.way == "oidc" and not is_installed("joserfc"):
        yield failed(
            "desk.access.way is oidc, and joserfc, which checks tokens, is not installed.",
            why="The desk does not start without it.",
            advice="`pip install 'haiku-pipeline[desk]'`.",
        )
    if not is_installed("noida_db"):
        yield ok(
            "The extra `local` is not installed: `pipeline demo` and `pipeline local` need "
            "it (`pip install 'haiku-pipeline[local]'`), and nothing else does.",
        )


def is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def check_certificate(site: Site) -> Iterator[Finding]:
    """Finds a certificate file that cannot be read, and stages that run otherwise than certified,
    or that it says nothing of.
    """
    settings = site.settings
    path = settings.trust.certificate
    if path is None:
        return
    try:
        file = read_certificates(path)
    except UsageError as error:
        yield failed(
            str(error),
            why="`pipeline run` does not start without it.",
            advice="Make one, or unset trust.certificate.",
        )
        return
    policy, tables = Policy.from_settings(settings), settings.stages.by_name()
    for stage in (name for name in settings.enabled if name in tables):
        found = stage_state(file.of(stage), settings, policy, stage)
        if found.state == "certified":
            yield ok(f"{stage} runs as certified, as far as the settings say ({found.id}).")
        else:
            yield warning(
                f"The certificate of {stage} is {found.state}: {found.detail}.",
                why="Nobody knows how often its published answers are right.",
                advice=f"`pipeline trust certify --stage {stage} --out {path}`, with labels of "
                "answers that today's settings made.",
            )


def check_membership(site: Site) -> Iterator[Finding]:
    """Finds static membership with one id for several processes."""
    kafka = site.settings.kafka
    if kafka.group_instance_id == socket.gethostname():
        # In a pod, its name: no other process has it.
        yield ok(f"Static membership under the name of this host, {kafka.group_instance_id}.")
    elif kafka.group_instance_id is not None:
        yield warning(
            f"kafka.group_instance_id is set ({kafka.group_instance_id}): static membership.",
            why="Two processes with the same one throw each other out, again and again; and when "
            f"one dies, its partitions wait for kafka.session_timeout ({kafka.session_timeout:g} "
            "s) before another takes them.",
            advice="Give each process its own, for instance the name of its pod, or unset it. "
            "`--workers` adds a number of its own to it.",
        )


def check_port(site: Site) -> Iterator[Finding]:
    """Finds the HTTP port is taken, or shows records to others than this machine."""
    http = site.settings.http
    place = f"{http.host}:{http.port}"
    try:
        family, *_ = socket.getaddrinfo(http.host, http.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((http.host, http.port))
    except OSError as error:
        yield warning(
            f"Nothing can listen on {place} ({error.strerror}).",
            why="`pipeline run` does not start without its page and /metrics. It is fine if it "
            "is the pipeline that runs there already.",
            advice=f"See who listens (`ss -ltnp 'sport = :{http.port}'`), or set http.host and "
            "http.port.",
        )
    else:
        yield ok(f"{place} is free for the dashboard.")
    if http.recent_records and not is_loopback(http.host):
        yield warning(
            f"The dashboard on {place} shows the last {http.recent_records} records, with their "
            "results, to everybody who reaches that address.",
            why="Nobody has to log in; results may hold personal data.",
            advice="Set http.recent_records to 0 (PIPELINE_HTTP__RECENT_RECORDS=0), or listen on "
            "127.0.0.1 behind a proxy that asks who is there.",
        )


def files_needed(settings: Settings) -> int:
    """Open files and connections that one process may come to. Pure."""
    places = len({place.name for _, place in settings.models.places()})
    calls = (settings.claude.concurrency + SPARE_CONNECTIONS) * places
    partitions = settings.topics.partitions * max(1, len(settings.enabled))
    return calls + partitions * _CONNECTIONS_OF_A_PARTITION + _OTHER_FILES


def check_files(site: Site) -> Iterator[Finding]:
    """Finds too low a limit on open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield of_limit(site.settings, soft, hard)


def of_limit(settings: Settings, soft: int, hard: int) -> Finding:
    """What limits on open files mean; pure."""
    needed = files_needed(settings)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return ok(f"{needed:,} open files may be needed, and are allowed.")
    return warning(
        f"This process may open {soft:,} files, and may need {needed:,}.",
        why="Each call and each partition holds connections; at the limit new ones fail, and that "
        "looks like an outage.",
        advice=f"`ulimit -n {needed}` before it starts (up to {hard:,} here), LimitNOFILE in "
        "systemd, or lower claude.concurrency.",
    )


def check_paths(site: Site) -> Iterator[Finding]:
    """Finds an answer cache that cannot be written."""
    claude = site.settings.claude
    if claude.answer_cache != "disk":
        return
    if (because := _why_unwritable(claude.answers_path)) is not None:
        yield failed(
            because,
            why="`pipeline run` does not start without it.",
            advice="Set claude.state_dir to a directory that this user may write to.",
        )


def _why_unwritable(path: Path) -> str | None:
    if path.exists() and not (path.is_file() and os.access(path, os.R_OK | os.W_OK)):
        return f"{path} cannot be written."
    place = next(each for each in path.absolute().parents if each.exists())
    try:
        # Asked of the file system itself: it may be read-only, or full.
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"\0" * 4096)
            file.flush()
    except OSError as error:
        return f"{path} cannot be made: nothing can be written in {place} ({error.strerror})."
    return None


def size_limits(settings: Settings) -> Iterator[tuple[str, str, int]]:
    """Of each enabled stage the setting that limits its events, and the limit in bytes."""
    for name in settings.enabled:
        stage = settings.stages.of(name)
        if stage is not None:
            setting = "max_event_bytes" if isinstance(stage, FileSettings) else "max_text_chars"
            yield name, f"stages.{name}.{setting}", stage.largest_event


def check_sizes(site: Site) -> Iterator[Finding]:
    """Finds events that stages take and topics do not; that cannot be escalated; that fetches or
    memory are too small for.
    """
    settings = site.settings
    largest = settings.topics.max_message_bytes
    memory, fetch = settings.stream.max_in_flight_bytes, settings.kafka.fetch_max_bytes
    for name, setting, limit in size_limits(settings):
        if limit > largest:
            yield warning(
                f"{setting} allows events of {limit:,} bytes, but topics take {largest:,}.",
                why="Nobody can publish such events.",
                advice="Raise topics.max_message_bytes, on the topics, too, or lower the other.",
            )
        elif limit * BASE64 + _ENVELOPE > largest:
            yield warning(
                f"The largest events of {name} cannot be escalated.",
                why=f"Of {limit:,} bytes the JSON of an escalation may make a third more, "
                f"and topics take {largest:,}; it would become a dead letter.",
                advice=f"Raise topics.max_message_bytes, or lower {setting}: events of "
                f"{int((largest - _ENVELOPE) / BASE64):,} bytes fit.",
            )
        if limit > memory:
            yield warning(
                f"{setting} allows events of {limit:,} bytes, and stream.max_in_flight_bytes "
                f"{memory:,}.",
                why="One large event holds up all others of the stage until it is done.",
                advice="Raise stream.max_in_flight_bytes, and the memory limit with it.",
            )
        if limit > fetch:
            yield warning(
                f"{setting} allows events of {limit:,} bytes, and kafka.fetch_max_bytes {fetch:,}.",
                why="Brokers then send such an event alone, so each takes a round trip of its own.",
                advice="Raise kafka.fetch_max_bytes above it.",
            )
