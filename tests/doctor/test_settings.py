"""Mistakes that show without asking anybody."""

import os
import resource
import socket
from pathlib import Path

import pytest

from pipeline.doctor import CHECKS, Finding, Verdict, examine, installation
from pipeline.doctor.installation import (
    check_extras,
    check_files,
    check_membership,
    check_paths,
    check_port,
    check_settings,
    check_sizes,
    check_stages,
    files_needed,
    of_limit,
)
from pipeline.doctor.model_api import (
    check_address,
    check_key,
    check_models,
    check_opinions,
    check_prices,
    check_prompts,
)
from pipeline.stages.checks import scope
from tests.doctor.sites import fine, reported, site

FAILED, WARNING = Verdict.FAILED, Verdict.WARNING
KEY = {"ANTHROPIC_API_KEY": "sk-ant-api03-a-key"}


async def settings_finding() -> Finding:
    (finding,) = await examine(lambda _: None, CHECKS, environment={})
    return finding


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[kafka]\nbootstrap_server = "kafka:9092"', "kafka.bootstrap_server: Extra inputs"),
        ('[claude]\napi_key = "sk-ant-api03-x"', "claude.api_key: Extra inputs"),
        ('delivery = "twice"', "delivery"),
        ("[kafka\n", "pipeline.toml is not TOML"),
    ],
)
async def test_a_wrong_file_is_reported_by_place_and_never_with_the_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pipeline.toml").write_text(text)
    finding = await settings_finding()
    reported([finding], FAILED, says, "pipeline.toml")
    assert "sk-ant" not in finding.text


async def test_a_variable_that_wants_json_and_is_none_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PIPELINE_ENABLED", "tickets,invoices")
    reported([await settings_finding()], FAILED, "enabled", "JSON")


def test_a_variable_that_is_no_setting_is_reported_with_what_was_meant() -> None:
    environment = {"PIPELINE_KAFAK__BOOTSTRAP_SERVERS": "kafka:9092"}
    reported(check_settings(site(environment)), WARNING, "PIPELINE_KAFAK", "PIPELINE_KAFKA?")
    environment = {"PIPELINE_ZZZ": "1"}
    reported(check_settings(site(environment)), WARNING, "PIPELINE_ZZZ", "no such setting")


def test_variables_that_are_settings_are_fine() -> None:
    environment = {"PIPELINE_KAFKA__CLIENT_ID": "x", "PIPELINE_DELIVERY": "x", "PATH": "/bin"}
    fine(check_settings(site(environment)))


def test_a_stage_that_does_not_exist_is_reported() -> None:
    reported(check_stages(site(enabled=["faxes"])), FAILED, "faxes", "tickets")
    reported(check_stages(site(enabled=[])), FAILED, "No stage")


def test_escalations_that_nobody_reads_are_reported() -> None:
    reported(check_stages(site(enabled=["tickets"])), WARNING, "escalations", "pipeline run")
    fine(check_stages(site()))


def test_static_membership_is_reported() -> None:
    one = site(kafka={"group_instance_id": "one"})
    reported(check_membership(one), WARNING, "group_instance_id", "throw each other out")
    fine(check_membership(site()))


def test_static_membership_under_the_name_of_a_pod_is_no_mistake() -> None:
    fine(check_membership(site(kafka={"group_instance_id": socket.gethostname()})))


@pytest.mark.parametrize(
    ("environment", "verdict", "says"),
    [
        ({}, WARNING, "is not set"),
        ({"ANTHROPIC_API_KEY": ""}, FAILED, "is empty"),
        ({"ANTHROPIC_API_KEY": '"sk-ant-api03-x"'}, FAILED, "quotes"),
        ({"ANTHROPIC_API_KEY": "sk-ant-api03-x\n"}, FAILED, "whitespace"),
        ({"ANTHROPIC_API_KEY": "Bearer sk-ant-api03-x"}, FAILED, "whitespace"),
        ({"ANTHROPIC_API_KEY": "your-key-here"}, FAILED, "example"),
        ({"ANTHROPIC_API_KEY": "$KEY"}, FAILED, "example"),
        ({"ANTHROPIC_API_KEY": "sk-ant-admin01-x"}, FAILED, "Admin"),
        ({"PIPELINE_CLAUDE__API_KEY": "sk-ant-api03-x"}, FAILED, "PIPELINE_CLAUDE__API_KEY"),
        ({**KEY, "ANTHROPIC_AUTH_TOKEN": "x"}, WARNING, "both set"),
    ],
)
def test_a_key_that_cannot_be_one_is_reported_and_not_shown(
    environment: dict[str, str], verdict: Verdict, says: str
) -> None:
    finding = reported(check_key(site(environment)), verdict, says)
    assert "sk-ant" not in finding.text


@pytest.mark.parametrize("environment", [KEY, {"ANTHROPIC_AUTH_TOKEN": "x"}])
def test_a_key_or_a_token_is_fine(environment: dict[str, str]) -> None:
    fine(check_key(site(environment)))


@pytest.mark.parametrize(
    ("url", "verdict", "says"),
    [
        ("api.anthropic.com", FAILED, "no address"),
        (" https://api.anthropic.com", FAILED, "no address"),
        ("http://[::1", FAILED, "no address"),
        ("http://localhost:80a", FAILED, "no address"),
        ("https://api.anthropic.com/v1", FAILED, "/v1"),
        ("https://api.anthropic.com/v1/messages/", FAILED, "/v1/messages"),
        ("http://gateway.example:8080", WARNING, "without TLS"),
    ],
)
def test_a_wrong_base_url_is_reported(url: str, verdict: Verdict, says: str) -> None:
    reported(check_address(site({"ANTHROPIC_BASE_URL": url})), verdict, says)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9", "http://localhost:9", "https://gateway.example/anthropic"]
)
def test_a_base_url_that_can_be_is_shown(url: str) -> None:
    (finding,) = check_address(site({"ANTHROPIC_BASE_URL": url}))
    assert finding.verdict is Verdict.OK
    assert url in finding.detail


@pytest.mark.parametrize("url", ["https://ada:hush@gateway.example", "ftp://ada:hush@x"])
def test_credentials_in_a_base_url_are_not_shown(url: str) -> None:
    (finding,) = check_address(site({"ANTHROPIC_BASE_URL": url}))
    assert "***@" in finding.detail
    assert "hush" not in finding.text


def models(haiku: str, sonnet: str = "claude-sonnet-5-5") -> list[Finding]:
    return list(check_models(site(models={"haiku": haiku, "sonnet": sonnet})))


def test_an_id_that_is_not_claudes_is_reported() -> None:
    reported(models("gpt-5"), WARNING, "'gpt-5'")


def test_swapped_and_equal_models_are_reported() -> None:
    reported(models("claude-sonnet-5-5", "claude-haiku-5-5"), FAILED, "swapped")
    reported(models("claude-sonnet-5-5", "claude-sonnet-5-5"), WARNING, "the same")


def test_models_of_today_are_fine_whatever_the_platform_calls_them() -> None:
    fine(models("claude-haiku-5-5"))
    fine(models("anthropic.claude-haiku-5-5"))


def test_an_unknown_price_is_reported() -> None:
    priceless = site(models={"haiku": "claude-haiku-9", "sonnet": "claude-haiku-9"})
    reported(check_prices(priceless), WARNING, "claude-haiku-9", "claude.prices")
    fine(check_prices(site()))


def test_a_prompt_that_is_too_short_to_be_cached_is_reported() -> None:
    labels = [{"name": "a"}, {"name": "b"}]
    short = site(models={"haiku": "claude-haiku-4-5"}, stages={"tickets": {"intents": labels}})
    reported(check_prompts(short), WARNING, "estimate", "tickets to claude-haiku-4-5", "4,096")
    fine(check_prompts(site()))
    fine(check_prompts(site(claude={"prompt_cache": "off"})))


def test_a_second_opinion_that_does_not_pay_is_reported() -> None:
    one = site(escalation={"second_opinion": {"tickets": 0.001}})
    reported(check_opinions(one), WARNING, "escalation.second_opinion.tickets", "evaluate")
    fine(check_opinions(site()))


def test_events_that_no_topic_takes_are_reported() -> None:
    large = {"images": {"max_event_bytes": 20 << 20}}
    one = site(
        stages=large,
        topics={"max_message_bytes": 12 << 20},
        kafka={"fetch_max_bytes": 50 << 20},
    )
    reported(check_sizes(one), WARNING, "stages.images.max_event_bytes", "Nobody can publish")


def test_events_that_cannot_be_escalated_are_reported() -> None:
    large = {"images": {"max_event_bytes": 10 << 20}}
    one = site(stages=large, topics={"max_message_bytes": 12 << 20})
    reported(check_sizes(one), WARNING, "cannot be escalated", "max_message_bytes")


def test_events_that_memory_or_a_fetch_does_not_take_are_reported() -> None:
    reported(check_sizes(site(stream={"max_in_flight_bytes": 9 << 20}, enabled=["images"],
                          stages={"images": {"max_event_bytes": 10 << 20}})),
         WARNING, "stream.max_in_flight_bytes", "memory limit")  # fmt: skip
    reported(check_sizes(site(kafka={"fetch_max_bytes": 1 << 20}, enabled=["images"])),
         WARNING, "kafka.fetch_max_bytes", "alone")  # fmt: skip
    fine(check_sizes(site()))


def test_a_port_is_free_or_taken() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        reported(check_port(site(http={"port": port})), WARNING, str(port), "ss -ltnp")
    fine(check_port(site(http={"port": port})))


def test_a_limit_on_open_files_that_is_too_low_is_reported() -> None:
    settings = site().settings
    needed = files_needed(settings)
    reported([of_limit(settings, 256, 4096)], WARNING, "256 files", f"ulimit -n {needed}")
    fine([of_limit(settings, needed, needed)])
    fine([of_limit(settings, resource.RLIM_INFINITY, resource.RLIM_INFINITY)])
    assert files_needed(site(claude={"concurrency": 1000}).settings) > needed
    assert list(check_files(site()))


def test_a_file_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a-file").write_text("")
    one = site(claude={"answer_cache": "disk", "state_dir": tmp_path / "a-file"})
    reported(check_paths(one), FAILED, "answers.sqlite3", "claude.state_dir")
    (tmp_path / "answers.sqlite3").mkdir()
    one = site(claude={"answer_cache": "disk", "state_dir": tmp_path})
    reported(check_paths(one), FAILED, "answers.sqlite3", "claude.state_dir")


@pytest.mark.skipif(not Path("/proc/version").exists(), reason="/proc takes no files")
def test_a_file_system_that_takes_no_files_is_reported() -> None:
    one = site(claude={"state_dir": "/proc/none", "answer_cache": "disk"})
    reported(check_paths(one), FAILED, "/proc")


def test_files_that_are_not_wanted_or_can_be_made_are_fine(tmp_path: Path) -> None:
    fine(check_paths(site(claude={"state_dir": "/proc/none"})))
    fine(check_paths(site(claude={"answer_cache": "disk", "state_dir": tmp_path / "not-yet"})))
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - nothing is left behind


def test_missing_extras_are_reported_where_they_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    fine(check_extras(site(tracing={"endpoint": "http://127.0.0.1:4318/v1/traces"})))
    monkeypatch.setattr(installation, "is_installed", lambda _: False)
    (local,) = check_extras(site())
    assert (local.verdict, "haiku-pipeline[local]" in local.detail) == (Verdict.OK, True)
    one = site(tracing={"endpoint": "http://127.0.0.1:4318/v1/traces"})
    reported(check_extras(one), FAILED, "OpenTelemetry", "haiku-pipeline[otel]")
    monkeypatch.setattr(scope, "is_encoder_installed", lambda: False)
    two = site(escalation={"scope": "encoder"})
    reported(check_extras(two), FAILED, "escalation.scope", "haiku-pipeline[encoder]")


def test_a_module_of_no_package_is_not_installed() -> None:
    assert installation.is_installed("json.decoder")
    assert not installation.is_installed("no_such_package.module")
