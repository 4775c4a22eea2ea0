"""Claim-checks: what may be fetched, and what never."""

import errno
import os
from pathlib import Path

import pytest

from pipeline.model.errors import InvalidEvent, Unavailable, UsageError
from pipeline.model.records import DeadLetterReason
from pipeline.stages.files.claims import FileClaims


@pytest.fixture
def place(tmp_path: Path) -> Path:
    allowed = tmp_path / "in"
    allowed.mkdir()
    (allowed / "a b.png").write_bytes(b"content")
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "in-too").mkdir()
    (tmp_path / "in-too" / "x").write_bytes(b"secret")
    return allowed


def claims(place: Path) -> FileClaims:
    return FileClaims([f"{place.as_uri()}/"])


def refused(place: Path, uri: str) -> DeadLetterReason:
    with pytest.raises(InvalidEvent, match="uri: ") as caught:
        claims(place).fetch(uri, max_bytes=100)
    return caught.value.reason


def test_a_file_below_an_allowed_place_is_read(place: Path) -> None:
    assert claims(place).fetch(f"{place.as_uri()}/a%20b.png", max_bytes=7) == b"content"
    assert claims(place).fetch(f"file://localhost{place}/a b.png", max_bytes=7) == b"content"


def test_nothing_is_allowed_unless_it_is_set(place: Path) -> None:
    with pytest.raises(InvalidEvent) as caught:
        FileClaims([]).fetch(f"{place.as_uri()}/a%20b.png", max_bytes=100)
    assert caught.value.reason is DeadLetterReason.FORBIDDEN_URI


@pytest.mark.parametrize(
    "uri",
    [
        "{root}/secret",
        "{place}/../secret",
        "{place}/%2e%2e/secret",
        "{place}/x/../../secret",
        "{root}/in-too/x",
        "{place}%00/a",
        "{place}/a b.png?x=1",
        "{place}/a b.png#x",
        "file://elsewhere.example{path}/a",
        "file:a b.png",
        "file:",
        "/etc/passwd",
        "http://127.0.0.1/a",
        "https://example.com/a",
        "s3://bucket/a",
        "FILE//x",
        "file://[::1",
        "",
    ],
)
def test_every_other_place_is_forbidden(place: Path, uri: str) -> None:
    root = place.parent.as_uri()
    asked = uri.format(root=root, place=place.as_uri(), path=place)
    assert refused(place, asked) is DeadLetterReason.FORBIDDEN_URI


def test_a_link_that_leads_out_is_forbidden(place: Path) -> None:
    (place / "link").symlink_to(place.parent / "secret")
    (place / "folder").symlink_to(place.parent)
    assert refused(place, f"{place.as_uri()}/link") is DeadLetterReason.FORBIDDEN_URI
    assert refused(place, f"{place.as_uri()}/folder/secret") is DeadLetterReason.FORBIDDEN_URI


def test_a_link_that_stays_inside_is_followed(place: Path) -> None:
    (place / "link").symlink_to(place / "a b.png")
    assert claims(place).fetch(f"{place.as_uri()}/link", max_bytes=100) == b"content"


def test_links_by_relative_paths_and_by_way_of_folders_are_followed(place: Path) -> None:
    (place / "deep" / "er").mkdir(parents=True)
    (place / "deep" / "er" / "up").symlink_to("../../a b.png")
    (place / "folder").symlink_to("deep/er")
    assert claims(place).fetch(f"{place.as_uri()}/folder/up", max_bytes=100) == b"content"


def test_a_relative_link_that_leads_out_is_forbidden_even_if_it_comes_back(place: Path) -> None:
    (place / "round").symlink_to(f"../{place.name}/a b.png")
    assert refused(place, f"{place.as_uri()}/round") is DeadLetterReason.FORBIDDEN_URI


def test_a_hard_link_to_a_file_outside_is_forbidden(place: Path) -> None:
    (place / "hard").hardlink_to(place.parent / "secret")
    assert refused(place, f"{place.as_uri()}/hard") is DeadLetterReason.FORBIDDEN_URI


def test_a_file_with_several_names_inside_is_read(place: Path) -> None:
    (place / "below").mkdir()
    (place / "below" / "hard").hardlink_to(place / "a b.png")
    assert claims(place).fetch(f"{place.as_uri()}/below/hard", max_bytes=100) == b"content"


def test_a_folder_that_becomes_a_link_while_it_is_walked_leads_nowhere_else(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "folder").mkdir()
    (place / "folder" / "secret").write_bytes(b"harmless")
    really_open = os.open

    def open_after_the_swap(path: str, flags: int, *, dir_fd: int | None = None) -> int:
        if path == "secret":
            (place / "folder").rename(place / "moved")
            (place / "folder").symlink_to(place.parent)
        return really_open(path, flags, dir_fd=dir_fd)

    monkeypatch.setattr("pipeline.stages.files.claims.os.open", open_after_the_swap)
    assert claims(place).fetch(f"{place.as_uri()}/folder/secret", max_bytes=100) == b"harmless"


def test_what_is_no_file_is_the_events_fault(place: Path) -> None:
    os.mkfifo(place / "pipe")
    (place / "loop").symlink_to(place / "loop")
    for name in ("absent", "a%20b.png/below", "", "pipe", "loop", "n" * 300):
        uri = f"{place.as_uri()}/{name}"
        assert refused(place, uri) is DeadLetterReason.INVALID_EVENT, name


def test_a_file_that_is_too_large_is_not_read_whole(place: Path) -> None:
    with pytest.raises(InvalidEvent, match="more than 6 bytes") as caught:
        claims(place).fetch(f"{place.as_uri()}/a b.png", max_bytes=6)
    assert caught.value.reason is DeadLetterReason.TOO_LARGE


def test_a_place_that_is_gone_is_no_fault_of_the_event(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    with pytest.raises(Unavailable, match="cannot be read"):
        FileClaims([gone.as_uri()]).fetch(f"{gone.as_uri()}/a", max_bytes=100)


def test_a_disk_that_fails_is_no_fault_of_the_event(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_open = os.open

    def failing(path: str, flags: int, *, dir_fd: int | None = None) -> int:
        if dir_fd is not None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return really_open(path, flags)

    monkeypatch.setattr("pipeline.stages.files.claims.os.open", failing)
    with pytest.raises(Unavailable):
        claims(place).fetch(f"{place.as_uri()}/a b.png", max_bytes=100)


@pytest.mark.parametrize("prefix", ["data/in", "s3://bucket/", "file://host/x", "file:///a/../b"])
def test_an_allowed_place_that_is_none_is_wrong_use(prefix: str) -> None:
    with pytest.raises(UsageError, match="uri_allow"):
        FileClaims([prefix])
