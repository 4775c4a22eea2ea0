"""Keys and tokens that change: which one is used, and when another is fetched."""

import asyncio
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from anthropic.lib.aws import _auth

from pipeline.claude.credentials import (
    AwsSigner,
    KeyFile,
    forget_aws_credentials,
    source_of,
)
from pipeline.config import EndpointSettings
from pipeline.model.errors import UsageError
from pipeline.runtime import tokens as tokens_module
from pipeline.runtime.tokens import CredentialsUnavailable, Tokens


async def test_a_key_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("first\n")
    keys = KeyFile(file)
    assert await keys.current() == "first"
    assert not keys.renew(unauthorized=True)
    (tmp_path / "next").write_text("second")
    (tmp_path / "next").rename(file)
    assert keys.renew(unauthorized=False)
    assert await keys.current() == "second"


@pytest.mark.parametrize("content", [b"", b" \n", b"\xff\xfe\xff"])
async def test_a_key_file_without_a_key_leaves_the_last_key_in_use(
    content: bytes, tmp_path: Path
) -> None:
    file = tmp_path / "key"
    file.write_text("good")
    keys = KeyFile(file)
    assert await keys.current() == "good"
    file.write_bytes(content)
    assert await keys.current() == "good"
    file.unlink()
    assert await keys.current() == "good"


async def test_a_key_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CredentialsUnavailable, match=r"no key in .*nowhere") as error:
        await KeyFile(tmp_path / "nowhere").current()
    assert not error.value.transient


class Issuer:
    """Gives out tokens that are good for a minute."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.fetched = 0
        self.is_away = False
        self.halt: asyncio.Event | None = None
        self.tokens = Tokens(self.fetch, now=lambda: self.now)

    async def fetch(self) -> tuple[str, float]:
        if self.halt is not None:
            await self.halt.wait()
        if self.is_away:
            raise CredentialsUnavailable("nobody there", transient=True)
        self.fetched += 1
        return f"token-{self.fetched}", self.now + 60


async def test_all_who_wait_for_a_token_get_the_same() -> None:
    issuer = Issuer()
    got = await asyncio.gather(*(issuer.tokens.current() for _ in range(50)))
    assert set(got) == {"token-1"}
    assert issuer.fetched == 1


async def test_a_token_is_renewed_before_it_expires() -> None:
    issuer = Issuer()
    used = set()
    for _ in range(240):
        used.add(await issuer.tokens.current())
        issuer.now += 1
    assert len(used) == 8, "four minutes, and each is used for 30 s of its 60"


async def test_a_token_that_cannot_be_renewed_is_used_to_its_end() -> None:
    issuer = Issuer()
    await issuer.tokens.current()
    issuer.is_away = True
    for _ in range(59):
        issuer.now += 1
        assert await issuer.tokens.current() == "token-1"
    issuer.now += 1
    with pytest.raises(CredentialsUnavailable, match="nobody there"):
        await issuer.tokens.current()
    issuer.is_away = False
    assert await issuer.tokens.current() == "token-2"


async def test_who_gives_tokens_out_may_be_away_for_half_of_their_life() -> None:
    issuer, used = Issuer(), set()
    for second in range(600):
        issuer.is_away = second % 60 >= 30
        used.add(await issuer.tokens.current())
        issuer.now += 1
    assert len(used) == 10


async def test_nobody_with_a_good_token_waits_for_one_who_hangs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tokens_module, "_PATIENCE", 0.01)
    issuer, goes_on = Issuer(), asyncio.Event()
    assert await issuer.tokens.current() == "token-1"
    issuer.halt = goes_on
    issuer.now += 31
    got = await asyncio.gather(*(issuer.tokens.current() for _ in range(5)))
    assert set(got) == {"token-1"}
    waiting = asyncio.create_task(issuer.tokens.current())
    goes_on.set()
    await waiting
    assert await issuer.tokens.current() == "token-2"
    assert issuer.fetched == 2


async def test_who_gives_up_waiting_for_a_token_does_not_give_it_up_for_others() -> None:
    issuer = Issuer()
    issuer.halt = asyncio.Event()
    first, second = (asyncio.create_task(issuer.tokens.current()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    issuer.halt.set()
    assert await second == "token-1"
    assert issuer.fetched == 1


async def test_a_token_is_fetched_again_only_if_it_was_refused() -> None:
    issuer = Issuer()
    await issuer.tokens.current()
    assert not issuer.tokens.renew(unauthorized=False)
    assert await issuer.tokens.current() == "token-1"
    assert issuer.tokens.renew(unauthorized=True)
    assert await issuer.tokens.current() == "token-2"


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A file of AWS credentials, and nothing else where boto3 looks."""
    file = tmp_path / "credentials"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    forget_aws_credentials()
    yield file
    forget_aws_credentials()


def written(file: Path, key: str) -> None:
    file.write_text(f"[default]\naws_access_key_id={key}\naws_secret_access_key=secret\n")


def signed() -> str:
    """By the SDK, with what the signer has made ready."""
    headers = _auth.get_auth_headers(
        method="post",
        url="http://127.0.0.1/",
        headers={},  # type: ignore[arg-type]
        aws_access_key=None,
        aws_secret_key=None,
        aws_session_token=None,
        region="eu-west-1",
        profile=None,
        data=b"{}",
        service_name="bedrock",
    )
    return headers["Authorization"]


async def test_aws_credentials_that_were_refused_are_looked_for_again(aws: Path) -> None:
    written(aws, "AKIAFIRST")
    signer = AwsSigner("eu-west-1")
    await signer.current()
    assert "Credential=AKIAFIRST/" in signed()
    written(aws, "AKIASECOND")
    assert not signer.renew(unauthorized=False)
    assert "Credential=AKIAFIRST/" in signed()
    assert signer.renew(unauthorized=True)
    await signer.current()
    assert "Credential=AKIASECOND/" in signed()


async def test_aws_credentials_that_are_nowhere_are_looked_for_again(aws: Path) -> None:
    signer = AwsSigner("eu-west-1")
    with pytest.raises(CredentialsUnavailable, match="no AWS credentials"):
        await signer.current()
    written(aws, "AKIALATE")
    await signer.current()
    assert "Credential=AKIALATE/" in signed()


def test_an_extra_that_is_missing_is_named_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("AWS_BEARER_TOKEN_BEDROCK", raising=False)
    monkeypatch.setitem(sys.modules, "boto3", None)
    endpoint = EndpointSettings(model="m", provider="bedrock", region="eu-west-1")
    with pytest.raises(UsageError, match=r"pip install 'haiku-pipeline\[bedrock\]'"):
        source_of(endpoint)


def test_with_a_key_no_extra_is_needed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "key")
    endpoint = EndpointSettings(model="m", provider="bedrock", region="eu-west-1")
    assert source_of(endpoint) is None
    mounted = endpoint.model_copy(update={"key_file": tmp_path / "key"})
    assert isinstance(source_of(mounted), KeyFile)


async def test_aws_credentials_of_a_short_life_are_not_fetched_for_each_signature(
    aws: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched, script = tmp_path / "fetched", tmp_path / "fetch"
    expires = datetime.now(UTC) + timedelta(seconds=120)
    answer = {
        "Version": 1, "AccessKeyId": "ASIASHORT", "SecretAccessKey": "secret",
        "SessionToken": "token", "Expiration": expires.isoformat(),
    }  # fmt: skip
    written_script = f"#!/bin/sh\necho >> {fetched}\necho '{json.dumps(answer)}'\n"
    config = f"[default]\ncredential_process = {script}\n"
    with_process(script, written_script, tmp_path / "config", config)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    await AwsSigner("eu-west-1").current()
    at_start = fetched_times(fetched)
    for _ in range(5):
        assert "Credential=ASIASHORT/" in signed()
    assert fetched_times(fetched) == at_start


def with_process(script: Path, text: str, config: Path, profile: str) -> None:
    script.write_text(text)
    script.chmod(0o700)
    config.write_text(profile)


def fetched_times(file: Path) -> int:
    return len(file.read_text())
