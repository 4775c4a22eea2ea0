"""Events with a file: in JSON, bare, or behind a uri."""

import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest

from pipeline.config import ImageSettings, load_settings
from pipeline.model.errors import InvalidEvent, UsageError
from pipeline.model.json_bytes import dumps
from pipeline.model.questions import Image, Pdf
from pipeline.model.records import DeadLetterReason
from pipeline.stages.files.decoder_server import prepare
from pipeline.stages.files.raw_events import FileEvent, Files, from_json_object, to_json_object
from tests.stages.making import pdf, picture

PNG = picture()


class HeldClaims:
    """Claim-checks held in memory."""

    def __init__(self, held: Mapping[str, bytes]) -> None:
        self.held = held

    def fetch(self, uri: str, *, max_bytes: int) -> bytes:
        return self.held[uri][:max_bytes]


def files(held: Mapping[str, bytes] | None = None, **settings: int) -> Files:
    return Files(ImageSettings(**settings), HeldClaims(held or {}), prepare)


def read(
    value: bytes, *, key: bytes | None = None, headers: Mapping[str, bytes] | None = None
) -> FileEvent:
    return files(max_event_bytes=10_000).read_event(
        FileEvent, value, key=key, headers=headers or {}
    )


def refused(
    value: bytes, *, key: bytes | None = None, headers: Mapping[str, bytes] | None = None
) -> InvalidEvent:
    with pytest.raises(InvalidEvent) as caught:
        read(value, key=key, headers=headers)
    return caught.value


def as_json(data: bytes = PNG, media_type: str = "image/png", **more: int) -> bytes:
    file = {"media_type": media_type, "data": base64.b64encode(data).decode()}
    return json.dumps({"id": "1", "file": file, **more}).encode()


def test_a_file_in_json_is_decoded() -> None:
    event = read(as_json(extra=1))
    assert event.file is not None
    assert event.file.data == PNG
    assert event.unknown_fields == {"extra": 1}


def test_what_is_said_beside_a_file_is_kept() -> None:
    file = json.loads(as_json())["file"] | {"filename": "a.jpg", "pages": [1, 2]}
    event = read(json.dumps({"id": "fn", "file": file, "shop": 7}).encode())
    assert event.file is not None
    assert event.file.data == PNG
    assert event.unknown_fields == {
        "shop": 7,
        "file": {"filename": "a.jpg", "pages": [1, 2]},
    }
    assert from_json_object(FileEvent, json.loads(dumps(to_json_object(event)))) == event


def test_base64_may_be_wrapped() -> None:
    wrapped = base64.encodebytes(PNG).decode()
    value = json.dumps({"id": "1", "file": {"media_type": "image/png", "data": wrapped}})
    event = read(value.encode())
    assert event.file is not None
    assert event.file.data == PNG


@pytest.mark.parametrize("declared", [b"image/png", b"Image/PNG; q=1"])
def test_a_bare_file_has_its_id_in_a_header(declared: bytes) -> None:
    headers = {"content-type": declared, "event-id": "ä-1".encode()}
    event = read(PNG, key=b"k", headers=headers)
    assert event.id == "ä-1"
    assert event.file is not None
    assert event.file.data == PNG


def test_a_bare_file_has_its_id_in_the_key_otherwise() -> None:
    assert read(PNG, key=b"k-7", headers={"Content-Type": b"image/png"}).id == "k-7"


@pytest.mark.parametrize(
    "declared",
    [b"application/octet-stream", b"binary/octet-stream", b"image/x-png", b""],
)
def test_a_bare_file_goes_by_its_bytes_where_its_type_says_nothing(declared: bytes) -> None:
    event = read(PNG, key=b"k", headers={"content-type": declared})
    assert event.file is not None
    assert event.file.media_type == "image/png"
    assert files().open(event) == (Image("image/png", PNG),)


@pytest.mark.parametrize("declared", ["", "application/octet-stream", "image/x-png", "PNG"])
def test_a_file_in_json_goes_by_its_bytes_where_its_type_says_nothing(declared: str) -> None:
    assert files().open(read(as_json(media_type=declared))) == (Image("image/png", PNG),)


@pytest.mark.parametrize("declared", [b"application/octet-stream", b"", b"binary/octet-stream"])
def test_json_is_json_where_its_type_says_nothing(declared: bytes) -> None:
    assert read(b"\xef\xbb\xbf " + as_json(), headers={"content-type": declared}).id == "1"


@pytest.mark.parametrize(
    ("key", "headers"),
    [
        (None, {}),
        (b"", {}),
        (b"\xff\xfe", {}),
        (b"k", {"event-id": b"\xff"}),
        (b"k" * 300, {}),
    ],
)
def test_a_bare_file_without_a_usable_id_is_refused(
    key: bytes | None, headers: dict[str, bytes]
) -> None:
    invalid = refused(PNG, key=key, headers={"content-type": b"image/png", **headers})
    assert invalid.reason is DeadLetterReason.INVALID_EVENT
    assert invalid.detail.startswith("id: ")


@pytest.mark.parametrize("declared", [b"image/jpeg", b"image/tiff", b"text/plain", b"\xff"])
def test_a_bare_file_that_is_not_what_it_says_is_refused(declared: bytes) -> None:
    invalid = refused(PNG, key=b"k", headers={"content-type": declared})
    assert invalid.reason in {DeadLetterReason.UNSUPPORTED_MEDIA, DeadLetterReason.INVALID_EVENT}
    assert "content-type" in invalid.detail


def test_a_bare_file_without_content_type_is_refused_with_what_it_lacks() -> None:
    invalid = refused(PNG, key=b"k")
    assert invalid.reason is DeadLetterReason.INVALID_JSON
    assert "image/png" in invalid.detail


def test_a_bare_file_that_is_too_large_is_refused() -> None:
    invalid = refused(PNG + bytes(10_000), key=b"k", headers={"content-type": b"image/png"})
    assert invalid.reason is DeadLetterReason.TOO_LARGE


@pytest.mark.parametrize("content_type", [None, b"application/json", b"application/json; x=y"])
def test_json_is_json_with_and_without_its_content_type(content_type: bytes | None) -> None:
    headers = {"content-type": content_type} if content_type else {}
    assert read(as_json(), headers=headers).id == "1"


@pytest.mark.parametrize(
    ("event", "field"),
    [
        ({"id": "1"}, "exactly one of file, uri"),
        ({"id": "1", "uri": "file:///a", "file": {"media_type": "x", "data": ""}}, "exactly one"),
        ({"id": "1", "file": {"media_type": "image/png"}}, "file.data: missing"),
        ({"id": "1", "file": {"media_type": "image/png", "data": "%%%"}}, "file.data: not base64"),
        ({"id": "1", "file": {"media_type": "image/png", "data": 7}}, "file.data:"),
        ({"id": "1", "file": {"media_type": 7, "data": ""}}, "file.media_type:"),
        ({"id": "1", "file": "abc"}, "file:"),
        ({"id": "1", "file": {"media_type": "x", "data": "", "size": 2**70}}, "file:"),
        ({"id": "1", "uri": 7}, "uri:"),
    ],
)
def test_a_wrong_file_is_named_by_field(event: dict[str, Any], field: str) -> None:
    invalid = refused(json.dumps(event).encode())
    assert invalid.reason is DeadLetterReason.INVALID_EVENT
    assert field in invalid.detail


def test_an_event_with_a_bare_file_survives_as_json() -> None:
    event = read(PNG, key=b"k", headers={"content-type": b"image/png"})
    assert from_json_object(FileEvent, json.loads(json.dumps(to_json_object(event)))) == event


def test_an_image_is_opened_as_what_is_sent() -> None:
    assert files().open(read(as_json())) == (Image("image/png", PNG),)


def test_a_pdf_is_opened_as_what_is_sent() -> None:
    event = read(as_json(pdf(), "application/pdf"))
    assert files().open(event) == (Pdf(pdf()),)


def test_a_claim_is_redeemed_and_known_by_its_first_bytes() -> None:
    event = FileEvent(id="1", uri="file:///a")
    assert files({"file:///a": PNG}).open(event) == (Image("image/png", PNG),)
    with pytest.raises(InvalidEvent, match="uri: ") as caught:
        files({"file:///a": b"text"}).open(event)
    assert caught.value.reason is DeadLetterReason.UNSUPPORTED_MEDIA


def test_a_claim_is_no_larger_than_an_event_may_be() -> None:
    event = FileEvent(id="1", uri="file:///a")
    with pytest.raises(InvalidEvent):
        files({"file:///a": PNG}, max_event_bytes=10).open(event)


def test_limits_are_the_settings() -> None:
    event = read(as_json(picture((40, 20))))
    with pytest.raises(InvalidEvent, match="799 pixels"):
        files(max_image_pixels=799).open(event)
    small = files(image_long_edge=10).open(event)
    assert small != files().open(event)


@pytest.mark.parametrize("stage", ["images", "invoices"])
def test_the_limit_of_one_stage_is_refused_with_the_name_of_the_one_for_all(
    stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"PIPELINE_STAGES__{stage.upper()}__DECODE_AT_ONCE", "3")
    with pytest.raises(UsageError, match=r"decode_at_once .*: set files\.decoders"):
        load_settings()


def test_decoders_are_a_setting_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_FILES__DECODERS", "3")
    assert load_settings().files.decoders == 3
