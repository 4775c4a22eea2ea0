"""What a real Apache Kafka needs of this machine: Java, and Kafka's own jars from Maven Central.

Environment:
    JAVA_HOME: Whose `bin/java` is used; else the one on the path.
    PIPELINE_LOCAL_KAFKA_VERSION: The version of Apache Kafka; 4.3.1 if unset.
    PIPELINE_LOCAL_KAFKA_LIBS: A folder with the jars of a Kafka, such as `libs` of an unpacked
        release; then neither Maven nor a download is needed.
    XDG_CACHE_HOME: Where jars are kept, in `haiku-pipeline/kafka-<version>`; ~/.cache if unset.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.local.broker import BrokerMissing
from pipeline.local.child import CommandFailed, run

_VERSION = "4.3.1"
_MIN_JAVA = 17
_LIBS = "PIPELINE_LOCAL_KAFKA_LIBS"
_POM = """<?xml version="1.0" encoding="UTF-8"?>
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>haiku-pipeline</groupId>
  <artifactId>local-kafka</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>{version}</version>
    </dependency>
    <dependency><!-- or Kafka would log nowhere -->
      <groupId>org.slf4j</groupId>
      <artifactId>slf4j-simple</artifactId>
      <version>1.7.36</version>
    </dependency>
  </dependencies>
</project>
"""
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"


def kafka_version() -> str:
    """The version that is resolved where no folder of jars is given."""
    return os.environ.get("PIPELINE_LOCAL_KAFKA_VERSION", _VERSION)


async def find_java() -> Path:
    """The `java` to use; `keytool` is beside it.

    Raises:
        BrokerMissing: There is none, or it is too old.
    """
    needs = f"Apache Kafka needs Java {_MIN_JAVA} or newer"
    java = _installed_java()
    if java is None:
        raise BrokerMissing(f"{needs}, and there is none on the path or in JAVA_HOME: install it.")
    with tempfile.TemporaryDirectory() as directory:
        try:
            printed = await run([str(java), "-version"], log=Path(directory, "java.log"))
        except CommandFailed as failed:
            raise BrokerMissing(f"{needs}, and {java} does not run: {failed}") from failed
    version = re.search(r'version "(?:1\.)?(\d+)', printed)
    if version is None or int(version[1]) < _MIN_JAVA:
        is_version = version[1] if version else "unknown"
        raise BrokerMissing(f"{needs}, and {java} is version {is_version}: install a newer one.")
    return java


async def find_kafka() -> Path:
    """The folder with the jars of Kafka; resolved with Maven the first time and kept.

    Raises:
        BrokerMissing: There are none, and Maven is missing or cannot get them.
    """
    libs, is_given = _libs()
    if not _has_kafka(libs):
        if is_given:
            raise BrokerMissing(f"There is no kafka_2.13-*.jar in {libs}: set {_LIBS} right.")
        await _resolve(libs)
    return libs


async def _resolve(libs: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise BrokerMissing(
            "Apache Kafka comes from Maven Central, and there is no mvn on the path: install "
            f"Maven, or set {_LIBS} to a folder with Kafka's jars."
        )
    with _folder_beside(libs) as directory:
        pom = _write_pom(directory)
        command = [maven, "--quiet", "--batch-mode", "--file", str(pom), _COPY]
        options = ["-DincludeScope=runtime", "-DoutputDirectory=libs"]
        try:
            await run([*command, *options], log=directory / "mvn.log")
        except CommandFailed as failed:
            raise BrokerMissing(
                f"Maven cannot get Apache Kafka {kafka_version()}: {failed}"
            ) from failed
        _move(directory / "libs", libs)


def _installed_java() -> Path | None:
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=str(Path(home, "bin")) if home else None)
    # Through the links of the system's alternatives, to where keytool is beside it.
    return None if found is None else Path(found).resolve()


def _libs() -> tuple[Path, bool]:
    """Where the jars are or will be, and whether somebody said so."""
    given = os.environ.get(_LIBS)
    if given is not None:
        return Path(given), True
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return cache / "haiku-pipeline" / f"kafka-{kafka_version()}", False


def _has_kafka(libs: Path) -> bool:
    return any(libs.glob("kafka_2.13-*.jar"))


@contextmanager
def _folder_beside(libs: Path) -> Iterator[Path]:
    libs.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=libs.parent, prefix=".resolving-") as directory:
        yield Path(directory)


def _write_pom(directory: Path) -> Path:
    pom = directory / "pom.xml"
    pom.write_text(_POM.format(version=kafka_version()))
    return pom


def _move(made: Path, libs: Path) -> None:
    """Whole or not at all, whoever else resolves it at the same time."""
    try:
        made.rename(libs)
    except OSError:
        if not _has_kafka(libs):
            raise
