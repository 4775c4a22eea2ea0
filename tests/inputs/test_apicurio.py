"""A registry and writers of other people's making: Apicurio Registry, confluent-kafka, kafkajs."""

import asyncio
import json
import os
import shutil
import tarfile
from base64 import b64decode
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from pipeline.config import ExtraField
from pipeline.model.errors import InvalidEvent, PipelineError
from tests.inputs.test_framing import (
    AVRO,
    JSON,
    PROTOBUF,
    VALUE,
    as_others_write,
    read,
    record,
)
from tests.inputs.test_outputs import FIELDS, as_others_read, published, registered, tickets

VERSION = "3.0.9"
"""The last that runs on Java 17."""
ARTIFACT = f"io.apicurio:apicurio-registry-app:{VERSION}:tar.gz:all"
RUNNING = "PIPELINE_TEST_REGISTRY"
"""The URL of one that runs already, empty, instead of one that is started here."""
KAFKAJS = ("kafkajs@2", "@kafkajs/confluent-schema-registry@3")
WRITER = """
const { SchemaRegistry, SchemaType } = require('@kafkajs/confluent-schema-registry')
const [host, ...given] = process.argv.slice(2)
const [texts, value] = given.map((each) => JSON.parse(each))
const registry = new SchemaRegistry({ host }, { [SchemaType.PROTOBUF]: { messageName: 'Ticket' } })
const main = async () => {
  for (const [type, schema] of Object.entries(texts)) {
    const { id } = await registry.register({ type, schema }, { subject: `kafkajs-${type}-value` })
    console.log((await registry.encode(id, value)).toString('base64'))
  }
}
main()
"""
pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.drill,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        RUNNING not in os.environ and not (shutil.which("java") and shutil.which("mvn")),
        reason="Apicurio Registry needs Java 17 and mvn",
    ),
]


@dataclass
class Apicurio:
    url: str


async def run(*command: str, cwd: Path) -> bytes:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output


def unpacked(folder: Path) -> Path:
    [packed] = folder.glob("*.tar.gz")
    with tarfile.open(packed) as tar:
        tar.extractall(folder, filter="data")
    [runner] = folder.glob("*-runner.jar")
    return runner


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def apicurio(
    tmp_path_factory: pytest.TempPathFactory, unused_tcp_port_factory: Callable[[], int]
) -> AsyncIterator[Apicurio]:
    if url := os.environ.get(RUNNING):
        yield Apicurio(url)
        return
    folder, port = tmp_path_factory.mktemp("apicurio"), unused_tcp_port_factory()
    copy = ("dependency:copy", f"-Dartifact={ARTIFACT}", f"-DoutputDirectory={folder}")
    await run("mvn", "--quiet", "--batch-mode", *copy, cwd=folder)
    runner = unpacked(folder)
    process = await asyncio.create_subprocess_exec(
        *("java", "-Xmx400m", "-Dquarkus.http.host=127.0.0.1"),
        *(f"-Dquarkus.http.port={port}", "-jar", str(runner)),
        cwd=folder,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    found = Apicurio(f"http://127.0.0.1:{port}/apis/ccompat/v7")
    try:
        async with asyncio.timeout(300):
            while not await answers(found.url):  # noqa: ASYNC110 - another program's
                await asyncio.sleep(0.5)
        yield found
    finally:
        process.terminate()
        await process.wait()


async def answers(url: str) -> bool:
    try:
        async with aiohttp.ClientSession() as session, session.get(f"{url}/subjects") as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False


async def test_a_registry_that_others_wrote_is_spoken_to_in_every_format(
    apicurio: Apicurio, tmp_path: Path
) -> None:
    for kind in ("avro", "json", "protobuf"):
        found = await read(apicurio, await as_others_write(apicurio, kind))
        assert found is not None
        assert found.fields == VALUE | ({"id": "7"} if kind == "protobuf" else {})
    with pytest.raises(InvalidEvent, match="knows no schema with the id 99999"):
        await read(apicurio, record(b"\x00\x00\x01\x86\x9f\x02"))

    for kind in ("avro", "json_schema", "protobuf"):
        settings = tickets(format=kind, topic=None, subject="topic_record")
        with pytest.raises(PipelineError, match="pipeline schemas register"):
            await published(apicurio, settings)
        [first] = await registered(apicurio, settings)
        [again] = await registered(apicurio, settings)
        # It takes a subject's schemas of every type.
        assert first.change in {"first version", "next version"}
        assert (again.change, again.id) == ("none", first.id)
        [one] = (await published(apicurio, settings)).records
        assert one.value is not None
        if kind == "protobuf":
            # confluent-kafka wants descriptors, and Apicurio has text.
            own = await read(apicurio, record(one.value))
            assert own is not None
            assert own.fields["event_id"] == "e-1"
        else:
            assert (await as_others_read(apicurio, settings, one.value))["event_id"] == "e-1"


async def test_an_incompatible_change_is_refused_by_the_registrys_own_check(
    apicurio: Apicurio,
) -> None:
    settings = tickets(format="avro", subject="record")
    async with aiohttp.ClientSession() as session:
        rule = {"compatibility": "BACKWARD"}
        async with session.put(f"{apicurio.url}/config", json=rule) as response:
            assert response.status == 200
    await registered(apicurio, settings)
    more = [*FIELDS, ExtraField(name="shop", type="text", description="Which shop.")]
    [next_] = await registered(apicurio, settings.model_copy(update={"fields": more}))
    assert next_.change == "next version"
    other = [ExtraField(name="order", type="list", description="All of them.")]
    [refused] = await registered(apicurio, settings.model_copy(update={"fields": other}))
    assert refused.change == "incompatible"


@pytest.mark.skipif(shutil.which("npm") is None, reason="kafkajs needs node and npm")
async def test_what_kafkajs_writes_is_read(apicurio: Apicurio, tmp_path: Path) -> None:
    await run("npm", "install", "--silent", "--no-audit", "--no-fund", *KAFKAJS, cwd=tmp_path)
    (tmp_path / "write.js").write_text(WRITER)
    texts = {"AVRO": AVRO, "JSON": JSON, "PROTOBUF": PROTOBUF.replace("message No { } ", "")}
    arguments = (apicurio.url, json.dumps(texts), json.dumps(VALUE))
    lines = await run("node", "write.js", *arguments, cwd=tmp_path)
    for kind, line in zip(texts, lines.split(), strict=True):
        # It writes no message indexes, which Confluent's clients do.
        has_indexes = kind != "PROTOBUF"
        found = await read(apicurio, record(b64decode(line)), message_indexes=has_indexes)
        assert found is not None, kind
        assert found.fields["text"] == VALUE["text"]
