"""Protobuf: the messages of a schema as JSON, by protobuf's own mapping.

protobuf reads them, which the extra `registry` installs. A registry gives a schema as a descriptor
where it can (Confluent's and Karapace do, with `format=serialized`), else as its text, which protoc
compiles in a process of its own: that of grpcio-tools, as no library reads .proto files in Python
and as text may bring a compiler to its end.
"""

import base64
import binascii
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import grpc_tools
from google.protobuf import (
    any_pb2,
    api_pb2,
    descriptor_pb2,
    descriptor_pool,
    duration_pb2,
    empty_pb2,
    field_mask_pb2,
    json_format,
    message_factory,
    source_context_pb2,
    struct_pb2,
    timestamp_pb2,
    type_pb2,
    wrappers_pb2,
)
from google.protobuf.descriptor import Descriptor, FileDescriptor
from google.protobuf.message import DecodeError, Message

from pipeline.inputs.registry import Schema
from pipeline.model.errors import InvalidEvent, Unavailable
from pipeline.model.json_bytes import MAX_NODES
from pipeline.model.records import DeadLetterReason

COMPILE_SECONDS = 20.0
"""That protoc may take: it needs some tenths of a second, or is in trouble."""
SMALL_BYTES = 2_000
"""Of a record that is read within a few milliseconds, whatever its schema."""
MAX_INDEXES = 64
"""How deep the message of a record may be nested in those of its file."""
_VARINT_BYTES = 5
_MAIN = "registry/schema.proto"
_WELL_KNOWN: tuple[FileDescriptor, ...] = tuple(
    module.DESCRIPTOR
    for module in (
        any_pb2, source_context_pb2, type_pb2, api_pb2, descriptor_pb2, duration_pb2, empty_pb2,
        field_mask_pb2, struct_pb2, timestamp_pb2, wrappers_pb2,
    )
)  # fmt: skip
_OURS = {each.name for each in _WELL_KNOWN}


class ProtobufReader:
    """Reads the records of one schema; made outside the event loop, as protoc takes long.

    Raises:
        InvalidEvent: It is no schema, or lacks one that it imports.
        Unavailable: protoc did not get to its end.
    """

    def __init__(self, schema: Schema) -> None:
        files = {name: _descriptor(each.text) for name, each in schema.references.items()}
        files[_MAIN] = _descriptor(schema.text)
        if not all(files.values()):
            texts = {name: each.text for name, each in schema.references.items()}
            files = _compiled(texts | {_MAIN: schema.text})
        self._pool = descriptor_pool.DescriptorPool()
        for each in _WELL_KNOWN:
            self._pool.AddSerializedFile(each.serialized_pb)
        try:
            for name, descriptor in files.items():
                if descriptor is not None and name not in _OURS:
                    descriptor.name = name
                    self._pool.Add(descriptor)
            file = self._pool.FindFileByName(_MAIN)
        except (TypeError, KeyError) as error:
            raise _invalid("its schema in the registry lacks something that it imports") from error
        self._messages = list(file.message_types_by_name.values())
        self._classes: dict[tuple[int, ...], type[Message]] = {}
        self.small_bytes = SMALL_BYTES

    def __call__(self, payload: bytes, indexes: tuple[int, ...]) -> dict[str, Any]:
        """The message as JSON, fields by the names that the schema has.

        `indexes` say which message of the file it is, from the outermost to the one within.

        Raises:
            InvalidEvent: The bytes are not of this message, or of too many values.
        """
        message = self.message(indexes)()
        try:
            message.ParseFromString(payload)
            # A message takes two bytes, and becomes as many values as it has fields.
            left = MAX_NODES
            for size in _sizes(message) if len(payload) > SMALL_BYTES else ():
                left -= size
                if left < 0:
                    raise InvalidEvent(
                        DeadLetterReason.TOO_LARGE,
                        "It has more names and values than an event may have.",
                    )
            read: dict[str, Any] = json_format.MessageToDict(
                message,
                always_print_fields_with_no_presence=True,
                preserving_proto_field_name=True,
                descriptor_pool=self._pool,
            )
        except (DecodeError, json_format.Error, ValueError, TypeError, OverflowError) as error:
            raise _invalid("its bytes are not of the message that it names") from error
        return read

    def message(self, indexes: tuple[int, ...]) -> type[Message]:
        """The class of a message of the schema; `InvalidEvent` if there is none."""
        if (found := self._classes.get(indexes)) is None:
            messages, descriptor = self._messages, None
            for index in indexes:
                if not 0 <= index < len(messages):
                    raise _invalid("its schema has no such message as it names")
                descriptor = messages[index]
                messages = descriptor.nested_types
            if not isinstance(descriptor, Descriptor):
                raise _invalid("it names no message")
            found = self._classes[indexes] = message_factory.GetMessageClass(descriptor)
        return found


def message_indexes(payload: bytes) -> tuple[tuple[int, ...], int]:
    """Which message of its file follows, and where in the bytes it begins.

    Confluent's form: zigzag varints, how many and then each; a single zero for the first message.

    Raises:
        InvalidEvent: There are none, or too many.
    """
    count, at = _varint(payload, 0)
    if count == 0:
        return (0,), at
    if not 0 < count <= MAX_INDEXES:
        raise _invalid("it names no message")
    indexes = []
    for _ in range(count):
        index, at = _varint(payload, at)
        indexes.append(index)
    return tuple(indexes), at


def _varint(payload: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift, byte in enumerate(payload[at : at + _VARINT_BYTES]):
        value |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:  # noqa: PLR2004 - the last one
            return (value >> 1) ^ -(value & 1), at + shift + 1
    raise _invalid("it ends before it names its message")


def _invalid(why: str) -> InvalidEvent:
    detail = f"The record is not readable Protobuf: {why}."
    return InvalidEvent(DeadLetterReason.INVALID_EVENT, detail)


def _sizes(message: Message) -> Iterator[int]:
    """How many names and values the parts of a message become, before they are made."""
    yield len(message.DESCRIPTOR.fields)
    for descriptor, value in message.ListFields():
        if isinstance(value, Message):
            yield from _sizes(value)
        elif hasattr(value, "__len__") and not isinstance(value, str | bytes):
            yield len(value)
            if descriptor.message_type is not None:
                parts = value.values() if isinstance(value, Mapping) else value
                for part in parts:
                    if isinstance(part, Message):
                        yield from _sizes(part)


def _descriptor(text: str) -> descriptor_pb2.FileDescriptorProto | None:
    """What a registry gave as a descriptor; None where it is text."""
    try:
        return descriptor_pb2.FileDescriptorProto.FromString(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError, DecodeError):
        return None


def _compiled(texts: Mapping[str, str]) -> dict[str, descriptor_pb2.FileDescriptorProto | None]:
    """The descriptors of .proto files by their names, each after those that it imports."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in texts.items():
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise _invalid("its schema imports a file outside the registry")
            if name not in _OURS:
                path = Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, "utf-8")
        found = Path(folder, ".descriptors")
        included = Path(grpc_tools.__file__).parent / "_proto"
        try:
            done = subprocess.run(  # noqa: S603 - this interpreter, grpcio-tools' own module
                [
                    *(sys.executable, "-I", "-m", "grpc_tools.protoc"),
                    *(f"-I{folder}", f"-I{included}", "--include_imports"),
                    *(f"--descriptor_set_out={found}", _MAIN),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=COMPILE_SECONDS,
                check=False,
            )
        except (subprocess.TimeoutExpired, OSError) as error:
            raise Unavailable(
                "protoc does not get to the end of a schema.", scope="file"
            ) from error
        if done.returncode:
            raise _invalid("its schema in the registry is not a .proto file that protoc takes")
        files = descriptor_pb2.FileDescriptorSet.FromString(found.read_bytes()).file
    return {file.name: file for file in files}
