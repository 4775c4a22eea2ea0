import re
import tomllib

from pipeline.config import Settings
from tests.deploy.tools import DEPLOY, ROOT, run

DOCKERFILE = DEPLOY / "Dockerfile"


def instructions() -> list[tuple[str, str]]:
    """Each instruction with its arguments on one line."""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE.read_text("utf-8"), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in lines) if name]


def last_stage() -> dict[str, str]:
    found: dict[str, str] = {}
    for name, rest in instructions():
        found = {} if name == "FROM" else found | {name: rest}
    return found


def test_the_linter_of_dockerfiles_and_shells_has_nothing_to_say() -> None:
    assert run("hadolint", DOCKERFILE) == ""


def test_it_runs_as_somebody_who_may_do_nothing() -> None:
    assert last_stage()["USER"] == "10001:10001"


def test_everything_from_outside_is_fetched_by_its_hash() -> None:
    fetching = [
        command
        for name, rest in instructions()
        if name == "RUN"
        for command in rest.split("&&")
        if re.search(r"pip\S*( --python \S+)? (install|download)", command)
    ]
    assert len(fetching) == 3
    for command in fetching:
        assert "--require-hashes" in command or "--no-index" in command


def test_what_it_is_built_from_is_sent_and_there() -> None:
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
    sent = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    copied = {
        source.removeprefix("./")
        for name, rest in instructions()
        if name == "COPY" and "--from" not in rest
        for source in rest.split()[:-1]
    }
    assert copied == sent
    assert all((ROOT / path).exists() for path in copied)


def test_the_base_is_pinned_and_of_a_python_that_the_project_supports() -> None:
    [base] = [rest for name, rest in instructions() if name == "ARG" and rest.startswith("BASE=")]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    version = re.fullmatch(r"BASE=python:(3\.\d+)-slim-\w+@sha256:[0-9a-f]{64}", base)
    assert version is not None
    assert f"Programming Language :: Python :: {version[1]}" in project["classifiers"]


def test_what_is_written_goes_to_the_volume() -> None:
    environment, volume = last_stage()["ENV"], last_stage()["VOLUME"]
    assert "state_dir" in type(Settings().claude).model_fields
    assert f"PIPELINE_CLAUDE__STATE_DIR={volume}" in environment


def test_it_has_no_health_check_that_some_builders_would_drop() -> None:
    assert "HEALTHCHECK" not in last_stage()
    assert f"PIPELINE_HTTP__PORT={Settings().http.port}" in last_stage()["ENV"]
