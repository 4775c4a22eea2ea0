"""What is done with a file, and what passes between a process and its decoders."""

import socket
import threading
from collections.abc import Iterator

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.model.errors import InvalidEvent
from pipeline.model.questions import Image, Pdf, Text
from pipeline.model.records import DeadLetterReason
from pipeline.stages.files import decoder_server
from pipeline.stages.files.decoder_server import prepare
from pipeline.stages.files.decoding import Channel, FileLimits, Job, Prepared
from pipeline.stages.files.media import MediaType
from tests.stages.hostile import blank_image, blank_webp
from tests.stages.making import pdf, picture, png_bomb

LIMITS = FileLimits(max_image_pixels=50_000_000, image_long_edge=1568, max_pdf_pages=10)
MIB = 1 << 20


def job(data: bytes, media_type: MediaType = "image/png") -> Job:
    return Job(data, media_type, "file", LIMITS)


@pytest.fixture
def channels() -> Iterator[tuple[Channel, Channel]]:
    ours, theirs = (Channel(end) for end in socket.socketpair())
    yield ours, theirs
    ours.close()
    theirs.close()


def test_an_image_and_a_pdf_are_prepared() -> None:
    assert prepare(job(picture())) == (Image("image/png", picture()),)
    assert prepare(job(pdf(), "application/pdf")) == (Pdf(pdf()),)


@pytest.mark.parametrize("side", [100, 5_000, 7_071])
def test_a_webp_is_refused_by_its_header_where_it_takes_too_much_memory(side: int) -> None:
    needed = 18 * side * side
    with pytest.raises(InvalidEvent, match="memory") as caught:
        prepare(job(blank_webp(side), "image/webp"), memory=needed - 1)
    assert caught.value.reason is DeadLetterReason.TOO_LARGE
    if side == 100:
        assert prepare(job(blank_webp(side), "image/webp"), memory=needed)


@pytest.mark.parametrize(
    "data",
    [
        blank_image("WEBP", 300, lossless=True),
        blank_image("WEBP", 300),
        blank_image("WEBP", 300, "RGBA", lossless=True),
        blank_image("WEBP", 300, "RGBA"),
    ],
    ids=["lossless", "lossy", "lossless-alpha", "lossy-alpha"],
)
def test_every_kind_of_webp_says_its_size(data: bytes) -> None:
    small = Job(data, "image/webp", "file", FileLimits(89_999, 1568, 10))
    with pytest.raises(InvalidEvent, match="more than 89,999 pixels") as caught:
        prepare(small)
    assert caught.value.reason is DeadLetterReason.TOO_LARGE
    with pytest.raises(InvalidEvent, match="memory"):
        prepare(job(data, "image/webp"), memory=18 * 90_000 - 1)


def test_a_bomb_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(InvalidEvent) as caught:
        prepare(job(png_bomb()), memory=MIB)
    assert caught.value.reason is DeadLetterReason.TOO_LARGE


@pytest.mark.parametrize(
    ("raised", "reason", "said"),
    [
        (MemoryError(), DeadLetterReason.TOO_LARGE, "takes more memory than"),
        (RecursionError("secret"), DeadLetterReason.BAD_IMAGE, "(RecursionError)"),
    ],
)
def test_whatever_a_library_raises_is_the_files_fault(
    raised: Exception, reason: DeadLetterReason, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prepare_image(*args: object, **kwargs: object) -> None:
        raise raised

    monkeypatch.setattr(decoder_server, "prepare_image", prepare_image)
    with pytest.raises(InvalidEvent) as caught:
        prepare(job(picture()), memory=512 * MIB)
    assert caught.value.reason is reason
    assert said in caught.value.detail
    assert "secret" not in caught.value.detail


@given(
    st.binary(max_size=100),
    st.sampled_from(["file", "uri", "päge"]),
    st.builds(FileLimits, st.integers(1, 9), st.integers(1, 9), st.integers(1, 9)),
)
def test_a_job_arrives_as_it_was_sent(data: bytes, field: str, limits: FileLimits) -> None:
    ours, theirs = (Channel(end) for end in socket.socketpair())
    sent = Job(data, "image/gif", field, limits, "cut", ((1, 2), (3, 3)))
    ours.send_job(sent)
    assert theirs.receive_job() == sent
    ours.close()
    assert theirs.receive_job() is None
    theirs.close()


@pytest.mark.parametrize(
    "reply",
    [
        (Image("image/png", b"data"),),
        (Image("image/jpeg", b"one"), Image("image/png", b""), Image("image/webp", b"data")),
        (Pdf(b"other"),),
        (Text("document", "Grüße"), Text("page 2", ""), Image("image/gif", b"", is_animated=True)),
        (Text("document", "data"),),
        tuple(Text(f"page {number}", "") for number in range(2_000)),
        (Pdf(b"x" * 3 * MIB),),
        (Pdf(b"x", (b"<a/>", b"<b/>")),),
    ],
)
@pytest.mark.parametrize("is_last", [True, False])
def test_a_reply_arrives_as_it_was_sent(
    reply: Prepared, is_last: bool, channels: tuple[Channel, Channel]
) -> None:
    ours, theirs = channels
    sender = threading.Thread(
        target=theirs.send_reply, args=(job(b"data"), reply), kwargs={"is_last": is_last}
    )
    sender.start()
    assert ours.receive_reply(job(b"data")) == (reply, is_last)
    sender.join()


def test_a_file_that_is_sent_as_it_is_does_not_travel_back(
    channels: tuple[Channel, Channel],
) -> None:
    ours, theirs = channels
    data = picture()
    theirs.send_reply(job(data), (Image("image/png", bytes(bytearray(data))),), is_last=False)
    (part,), _ = ours.receive_reply(job(data))  # type: ignore[misc]
    assert isinstance(part, Image)
    assert part.data is data


def test_a_refusal_arrives_with_its_reason(channels: tuple[Channel, Channel]) -> None:
    ours, theirs = channels
    refusal = InvalidEvent(DeadLetterReason.BAD_PDF, "file: no.")
    theirs.send_reply(job(b""), refusal, is_last=False)
    reply, _ = ours.receive_reply(job(b""))
    assert isinstance(reply, InvalidEvent)
    assert (reply.reason, reply.detail) == (refusal.reason, refusal.detail)


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"null",
        b"[]",
        b'{"parts": []}',
        b'{"parts": [{"media_type": "text/html", "size": null}], "is_last": false}',
        b'{"parts": [{"media_type": "image/png", "size": 999999999999}], "is_last": false}',
        b'{"parts": [{"media_type": "image/png", "size": "x"}], "is_last": false}',
        b'{"parts": [{"media_type": "image/png", "size": -1}], "is_last": false}',
        b'{"parts": [{"media_type": "application/pdf", "size": 1, "attached":[-1]}], "is_last": 0}',
        b'{"refused": {"reason": "other", "detail": ""}, "is_last": false}',
        b'{"refused": 7}',
    ],
)
def test_what_a_decoder_may_not_say_is_no_reply(header: bytes) -> None:
    end, other = socket.socketpair()
    ours = Channel(end)
    with other:
        other.sendall(len(header).to_bytes(4, "big") + header)
    with pytest.raises((ValueError, EOFError)):
        ours.receive_reply(job(b"data"))
    ours.close()


def test_half_a_reply_is_the_end(channels: tuple[Channel, Channel]) -> None:
    end, other = socket.socketpair()
    ours = Channel(end)
    part = {"media_type": "image/png", "size": 100}
    header = orjson.dumps({"parts": [part], "is_last": False})
    with other:
        other.sendall(len(header).to_bytes(4, "big") + header + b"too little")
    with pytest.raises(EOFError):
        ours.receive_reply(job(b"data"))
    ours.close()
