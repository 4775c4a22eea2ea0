"""Claim-checks in an object store, against a server that answers as one does."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pipeline.config import FileSettings, S3Settings
from pipeline.model.errors import InvalidEvent, Unavailable, UsageError
from pipeline.model.records import DeadLetterReason
from pipeline.stages.files.claims import Claims, S3Claims, blames_object

ERROR = "<Error><Code>{code}</Code><Message>no</Message></Error>"


REFUSALS = {
    "/inbox/in/busy": (503, "SlowDown"),
    "/inbox/in/closed": (403, "AccessDenied"),
    "/inbox/in/archived": (403, "InvalidObjectState"),
    "/inbox/in/odd": (400, "InvalidArgument"),
    "/inbox/in/stale": (400, "ExpiredToken"),
    "/inbox/in/nameless": (400, "&lt;b&gt;secret&lt;/b&gt;"),
    "/readable/in/closed": (403, "AccessDenied"),
    "/readable/in/broken": (500, "InternalError"),
    "/gone/in/a": (404, "NoSuchBucket"),
}


class Store(BaseHTTPRequestHandler):
    """Gives objects by path, and says what was asked of it."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        match self.path:
            case "/inbox/in/a%20b.png":
                self._answer(200, b"content")
            case "/inbox/in/moved":
                self._answer(301, b"", location=f"http://{self.headers['Host']}/inbox/elsewhere")
            case path:
                status, code = REFUSALS.get(path, (404, "NoSuchKey"))
                self._answer(status, ERROR.format(code=code).encode())

    def do_HEAD(self) -> None:
        self.send_response(200 if self.path == "/readable" else 403)
        self.end_headers()

    def _answer(self, code: int, body: bytes, *, location: str | None = None) -> None:
        self.send_response(code)
        if location is not None:
            self.send_header("Location", location)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        pass


@pytest.fixture
def asked() -> list[str]:
    return []


@pytest.fixture
def endpoint(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-test-1")
    handler = type("AskedStore", (Store,), {"asked": asked})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def claims(endpoint: str, *allowed: str, allow_private: bool = True) -> S3Claims:
    settings = S3Settings(endpoint_url=endpoint, allow_private=allow_private)
    return S3Claims(allowed or ("s3://inbox/in/",), settings)


def test_an_object_below_an_allowed_place_is_read(endpoint: str, asked: list[str]) -> None:
    assert claims(endpoint).fetch("s3://inbox/in/a b.png", max_bytes=7) == b"content"
    assert asked == ["/inbox/in/a%20b.png"]


def test_an_object_that_is_too_large_is_not_read_whole(endpoint: str) -> None:
    with pytest.raises(InvalidEvent) as caught:
        claims(endpoint).fetch("s3://inbox/in/a b.png", max_bytes=6)
    assert caught.value.reason is DeadLetterReason.TOO_LARGE


@pytest.mark.parametrize(
    "uri",
    [
        "s3://inbox/other/a",
        "s3://inbox/in/",
        "s3://inbox/in/../other/a",
        "s3://inbox/in/./a",
        "s3://inbox-too/in/a",
        "s3://inbox",
        "s3://inbox@169.254.169.254/in/a",
        "s3://inbox:80/in/a",
        "s3://INBOX/in/a",
        "s3:///in/a",
        "s3://inbox/in/\0a",
        "http://127.0.0.1/inbox/in/a",
        "",
    ],
)
def test_every_other_place_is_forbidden_and_nobody_is_asked(
    endpoint: str, asked: list[str], uri: str
) -> None:
    with pytest.raises(InvalidEvent) as caught:
        claims(endpoint).fetch(uri, max_bytes=100)
    assert caught.value.reason is DeadLetterReason.FORBIDDEN_URI
    assert asked == []


def test_what_is_not_there_is_the_events_fault(endpoint: str) -> None:
    with pytest.raises(InvalidEvent) as caught:
        claims(endpoint).fetch("s3://inbox/in/nothing", max_bytes=100)
    assert caught.value.reason is DeadLetterReason.INVALID_EVENT


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("s3://inbox/in/archived", "InvalidObjectState"),
        ("s3://inbox/in/odd", "InvalidArgument"),
        ("s3://inbox/in/nameless", "no reason"),
        ("s3://readable/in/closed", "AccessDenied"),
    ],
)
def test_what_the_store_says_of_one_object_is_the_events_fault(
    endpoint: str, uri: str, says: str
) -> None:
    allowed = ("s3://inbox/in/", "s3://readable/in/")
    with pytest.raises(InvalidEvent) as caught:
        claims(endpoint, *allowed).fetch(uri, max_bytes=100)
    assert caught.value.reason is DeadLetterReason.INVALID_EVENT
    assert says in caught.value.detail


def test_a_bucket_that_the_settings_name_and_that_is_not_there_is_no_events_fault(
    endpoint: str,
) -> None:
    with pytest.raises(Unavailable, match="NoSuchBucket"):
        claims(endpoint, "s3://gone/in/").fetch("s3://gone/in/a", max_bytes=100)


@pytest.mark.parametrize(
    ("status", "code", "blamed"),
    [
        (404, "NoSuchKey", True),
        (404, "404", True),
        (410, "", True),
        (416, "InvalidRange", True),
        (400, "KeyTooLongError", True),
        (405, "MethodNotAllowed", True),
        (403, "InvalidObjectState", True),
        (403, "AccessDenied", None),
        (403, "", None),
        (403, "InvalidAccessKeyId", False),
        (403, "SignatureDoesNotMatch", False),
        (403, "RequestTimeTooSkewed", False),
        (400, "ExpiredToken", False),
        (400, "RequestTimeout", False),
        (401, "", False),
        (404, "NoSuchBucket", False),
        (409, "OperationAborted", False),
        (429, "", False),
        (301, "PermanentRedirect", False),
        (500, "InternalError", False),
        (503, "SlowDown", False),
        (0, "", False),
    ],
)
def test_a_stores_error_is_about_the_object_or_about_the_store(
    status: int, code: str, blamed: bool | None
) -> None:
    assert blames_object(status, code) is blamed


@pytest.mark.parametrize("name", ["busy", "closed", "stale"])
def test_a_store_that_refuses_is_no_fault_of_the_event(
    endpoint: str, asked: list[str], name: str
) -> None:
    with pytest.raises(Unavailable):
        claims(endpoint).fetch(f"s3://inbox/in/{name}", max_bytes=100)
    assert asked == [f"/inbox/in/{name}"]


@pytest.mark.parametrize(
    ("uri", "scope"), [("s3://readable/in/broken", "file"), ("s3://inbox/in/busy", None)]
)
def test_it_is_the_one_object_that_is_away_where_its_bucket_answers(
    endpoint: str, uri: str, scope: str | None
) -> None:
    with pytest.raises(Unavailable) as caught:
        claims(endpoint, "s3://inbox/in/", "s3://readable/in/").fetch(uri, max_bytes=100)
    assert caught.value.scope == scope


def test_a_redirect_is_not_followed(endpoint: str, asked: list[str]) -> None:
    with pytest.raises(Unavailable):
        claims(endpoint).fetch("s3://inbox/in/moved", max_bytes=100)
    assert "/inbox/elsewhere" not in asked


def test_a_store_that_is_away_is_no_fault_of_the_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-test-1")
    with pytest.raises(Unavailable):
        claims("http://127.0.0.1:1").fetch("s3://inbox/in/a", max_bytes=100)


@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1:9000", "http://169.254.169.254", "http://10.0.0.7", "http://[::1]"],
)
def test_a_store_in_a_private_network_must_be_allowed(address: str) -> None:
    with pytest.raises(UsageError, match="allow_private"):
        claims(address, allow_private=False)


@pytest.mark.parametrize("prefix", ["s3://inbox/in", "s3://", "s3://in box/", "s3://inbox/../"])
def test_an_allowed_place_that_is_none_is_wrong_use(prefix: str) -> None:
    with pytest.raises(UsageError, match="uri_allow"):
        S3Claims([prefix], S3Settings())


def test_each_scheme_has_its_store_and_others_are_forbidden() -> None:
    redeemed = Claims(FileSettings(uri_allow=["file:///data/in/"]))
    for uri in ("s3://inbox/in/a", "https://example.com/a", "ftp:", ""):
        with pytest.raises(InvalidEvent) as caught:
            redeemed.fetch(uri, max_bytes=100)
        assert caught.value.reason is DeadLetterReason.FORBIDDEN_URI


def test_a_scheme_without_a_store_cannot_be_allowed() -> None:
    with pytest.raises(UsageError, match=r"https://example\.com/"):
        Claims(FileSettings(uri_allow=["https://example.com/"]))
