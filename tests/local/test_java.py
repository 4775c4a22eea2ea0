from pathlib import Path

import pytest

from pipeline.local.apache import find_java, find_kafka
from pipeline.local.broker import BrokerMissing


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with nothing on its path but what a test puts there."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (tmp_path / "cache").mkdir()
    monkeypatch.setenv("PATH", f"{programs}:/bin:/usr/bin/nothing-else")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("JAVA_HOME", "PIPELINE_LOCAL_KAFKA_LIBS", "PIPELINE_LOCAL_KAFKA_VERSION"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def install(machine: Path, name: str, script: str) -> None:
    program = machine / "bin" / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


FAKE_MAVEN = """
for argument; do
    case $argument in *pom.xml) directory=$(dirname "$argument") ;; esac
done
mkdir "$directory/libs" && touch "$directory/libs/kafka_2.13-$VERSION.jar"
"""


async def test_java_that_is_too_old_is_reported(machine: Path) -> None:
    install(machine, "java", """echo 'openjdk version "1.8.0_412"' >&2""")
    with pytest.raises(BrokerMissing, match=r"Java 17 or newer.*is version 8"):
        await find_java()


async def test_java_that_does_not_run_is_reported(machine: Path) -> None:
    install(machine, "java", "echo 'no memory'; exit 1")
    with pytest.raises(BrokerMissing, match="does not run: no memory"):
        await find_java()


async def test_java_that_is_missing_is_reported(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(machine / "no-such-jdk"))
    with pytest.raises(BrokerMissing, match="none on the path or in JAVA_HOME"):
        await find_java()


@pytest.mark.parametrize("version", ["17.0.15", "21", "25-ea"])
async def test_java_that_is_new_enough_is_found(machine: Path, version: str) -> None:
    install(machine, "java", f"""echo 'openjdk version "{version}" 2025-04-15' >&2""")
    assert await find_java() == machine / "bin" / "java"


async def test_maven_that_is_missing_is_reported(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(machine / "bin"))
    with pytest.raises(BrokerMissing, match="install Maven, or set PIPELINE_LOCAL_KAFKA_LIBS"):
        await find_kafka()


async def test_maven_that_fails_is_reported_and_nothing_is_kept(machine: Path) -> None:
    install(machine, "mvn", "echo '[ERROR] no network'; exit 1")
    with pytest.raises(BrokerMissing, match=r"cannot get Apache Kafka .*no network"):
        await find_kafka()
    assert list((machine / "cache" / "haiku-pipeline").iterdir()) == []


async def test_jars_are_resolved_once(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_LOCAL_KAFKA_VERSION", "4.9.9")
    install(machine, "mvn", f"VERSION=4.9.9\n{FAKE_MAVEN}")
    libs = await find_kafka()
    assert libs == machine / "cache" / "haiku-pipeline" / "kafka-4.9.9"
    assert [jar.name for jar in libs.iterdir()] == ["kafka_2.13-4.9.9.jar"]
    install(machine, "mvn", "exit 1")
    assert await find_kafka() == libs


async def test_a_folder_of_jars_can_be_given(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    libs = machine / "libs"
    libs.mkdir()
    monkeypatch.setenv("PIPELINE_LOCAL_KAFKA_LIBS", str(libs))
    with pytest.raises(BrokerMissing, match=r"no kafka_2\.13"):
        await find_kafka()
    (libs / "kafka_2.13-4.3.1.jar").touch()
    assert await find_kafka() == libs
