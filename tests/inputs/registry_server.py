"""A schema registry in this process: what Confluent's API checks and answers, so far as it is used.

Written from the API's public reference; the official client holds it to that, in the tests that
write and read with it, and Apicurio Registry holds the pipeline's client to the same in a drill.
"""

import asyncio
import base64
import json
import ssl
import threading
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import avro.compatibility
import avro.errors
import avro.schema
from aiohttp import web
from google.protobuf import descriptor_pb2

from pipeline.inputs.protobuf import _compiled

Reply = Callable[[web.Request], Awaitable[web.StreamResponse]]
_TYPES = {"application/vnd.schemaregistry.v1+json", "application/json"}


@dataclass
class RegistryServer:
    """`authorization` is the header that it wants; `serializes` is whether it gives descriptors."""

    url: str = ""
    authorization: str | None = None
    serializes: bool = True
    compatibility: str = "BACKWARD"
    asked: list[str] = field(default_factory=list)
    answer_with: Reply | None = None
    schemas: list[dict[str, Any]] = field(default_factory=list)
    subjects: dict[str, list[int]] = field(default_factory=dict)

    def guid(self, schema_id: int) -> str:
        return str(uuid.UUID(int=0xABC << 64 | schema_id))

    def add(self, subject: str, text: str, kind: str = "AVRO", *references: dict[str, Any]) -> int:
        """Register without any check, as somebody else did long ago."""
        schema = {"schema": text, "schemaType": kind, "references": list(references)}
        if schema not in self.schemas:
            self.schemas.append(schema)
        schema_id = self.schemas.index(schema) + 1
        versions = self.subjects.setdefault(subject, [])
        if schema_id not in versions:
            versions.append(schema_id)
        return schema_id

    @asynccontextmanager
    async def serving(self, tls: ssl.SSLContext | None = None) -> AsyncIterator["RegistryServer"]:
        app = web.Application(middlewares=[self._checked])
        app.add_routes([
            web.get("/schemas/ids/{id}", self._by_id),
            web.get("/schemas/guids/{guid}", self._by_guid),
            web.post("/subjects/{subject}/versions", self._register),
            web.post("/subjects/{subject}", self._lookup),
            web.get("/subjects/{subject}/versions/{version}", self._version),
            web.post("/compatibility/subjects/{subject}/versions/{version}", self._compatible),
        ])  # fmt: skip
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        port = runner.addresses[0][1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
        try:
            yield self
        finally:
            await runner.cleanup()

    @contextmanager
    def in_a_thread(self) -> Iterator["RegistryServer"]:
        """The same for what runs an event loop of its own."""
        started: Future[Callable[[], object]] = Future()

        async def serve() -> None:
            stop, loop = asyncio.Event(), asyncio.get_running_loop()
            async with self.serving():
                started.set_result(lambda: loop.call_soon_threadsafe(stop.set))
                await stop.wait()

        thread = threading.Thread(target=lambda: asyncio.run(serve()))
        thread.start()
        end = started.result(timeout=30)
        try:
            yield self
        finally:
            end()
            thread.join()

    @web.middleware
    async def _checked(self, request: web.Request, handler: Reply) -> web.StreamResponse:
        self.asked.append(f"{request.method} {request.path_qs}")
        if self.answer_with is not None:
            return await self.answer_with(request)
        if self.authorization not in {None, request.headers.get("Authorization")}:
            return _error(401, 40101, "Unauthorized")
        if request.method == "POST" and request.content_type not in _TYPES:
            return _error(415, 415, "HTTP 415 Unsupported Media Type")
        return await handler(request)

    async def _by_id(self, request: web.Request) -> web.Response:
        schema_id = int(request.match_info["id"])
        if not 0 < schema_id <= len(self.schemas):
            return _error(404, 40403, f"Schema {schema_id} not found")
        return web.json_response(self._shown(schema_id, request))

    async def _by_guid(self, request: web.Request) -> web.Response:
        for schema_id in range(1, len(self.schemas) + 1):
            if self.guid(schema_id) == request.match_info["guid"]:
                return web.json_response(self._shown(schema_id, request))
        return _error(404, 40403, "Schema not found")

    async def _version(self, request: web.Request) -> web.Response:
        subject, version = request.match_info["subject"], request.match_info["version"]
        if (versions := self.subjects.get(subject)) is None:
            return _error(404, 40401, f"Subject '{subject}' not found.")
        number = len(versions) if version == "latest" else int(version)
        if not 0 < number <= len(versions):
            return _error(404, 40402, f"Version {version} not found.")
        return web.json_response(self._versioned(subject, number, request))

    async def _lookup(self, request: web.Request) -> web.Response:
        subject = request.match_info["subject"]
        if subject not in self.subjects:
            return _error(404, 40401, f"Subject '{subject}' not found.")
        given = await _given(request)
        for number, schema_id in enumerate(self.subjects[subject], start=1):
            if _same(self.schemas[schema_id - 1], given):
                return web.json_response(self._versioned(subject, number, request))
        return _error(404, 40403, "Schema not found")

    async def _register(self, request: web.Request) -> web.Response:
        subject, given = request.match_info["subject"], await _given(request)
        try:
            problems = self._problems(subject, given)
        except (avro.errors.AvroException, ValueError) as error:
            return _error(422, 42201, f"Invalid schema: {error}")
        if problems:
            return _error(409, 409, f"Schema being registered is incompatible: {problems}")
        known = (each for each in self.schemas if _same(each, given))
        schema = next(known, given)
        schema_id = self.add(subject, schema["schema"], schema["schemaType"], *schema["references"])
        return web.json_response({"id": schema_id} | self._shown(schema_id, request))

    async def _compatible(self, request: web.Request) -> web.Response:
        subject = request.match_info["subject"]
        if subject not in self.subjects:
            return _error(404, 40401, f"Subject '{subject}' not found.")
        problems = self._problems(subject, await _given(request))
        answer: dict[str, Any] = {"is_compatible": not problems}
        if request.query.get("verbose") == "true":
            answer["messages"] = problems
        return web.json_response(answer)

    def _problems(self, subject: str, given: dict[str, Any]) -> list[str]:
        versions = self.subjects.get(subject, [])
        if given["schemaType"] != "AVRO":
            return []
        new = avro.schema.parse(given["schema"])
        if not versions or self.compatibility == "NONE":
            return []
        old = self.schemas[versions[-1] - 1]
        if old["schemaType"] != "AVRO":
            return ["the schema type may not change"]
        checker: Any = avro.compatibility.ReaderWriterCompatibilityChecker  # it has no types
        result = checker().get_compatibility(new, avro.schema.parse(old["schema"]))
        if result.compatibility is avro.compatibility.SchemaCompatibilityType.compatible:
            return []
        return sorted(result.messages)

    def _versioned(self, subject: str, number: int, request: web.Request) -> dict[str, Any]:
        schema_id = self.subjects[subject][number - 1]
        about = {"subject": subject, "version": number, "id": schema_id}
        return self._shown(schema_id, request) | about

    def _shown(self, schema_id: int, request: web.Request) -> dict[str, Any]:
        schema = dict(self.schemas[schema_id - 1])
        if schema["schemaType"] == "AVRO":
            del schema["schemaType"]  # as the real ones do
        elif schema["schemaType"] == "PROTOBUF" and self.serializes:
            is_text = not _is_descriptor(schema["schema"])
            if request.query.get("format") == "serialized" and is_text:
                schema["schema"] = _serialized(schema["schema"])
        if not schema["references"]:
            del schema["references"]
        return schema | {"guid": self.guid(schema_id)}


async def _given(request: web.Request) -> dict[str, Any]:
    given = await request.json()
    return {
        "schema": given["schema"],
        "schemaType": given.get("schemaType") or "AVRO",
        "references": given.get("references") or [],
    }


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    if one["schemaType"] != other["schemaType"] or one["references"] != other["references"]:
        return False
    if one["schemaType"] == "PROTOBUF":
        return bool(one["schema"] == other["schema"])
    return bool(json.loads(one["schema"]) == json.loads(other["schema"]))


def _is_descriptor(text: str) -> bool:
    return "syntax" not in text


def _serialized(text: str) -> str:
    [descriptor] = [
        each
        for name, each in _compiled({"registry/schema.proto": text}).items()
        if name == "registry/schema.proto"
    ]
    assert isinstance(descriptor, descriptor_pb2.FileDescriptorProto)
    return base64.b64encode(descriptor.SerializeToString()).decode()


def _error(status: int, code: int, message: str) -> web.Response:
    return web.json_response({"error_code": code, "message": message}, status=status)
