"""The script of a text against the language that an answer states."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.stages.checks.text_quality import _SCRIPTS, LANGUAGES, language_signals


def is_foreign(language: str, *texts: str | None) -> bool:
    return bool(language_signals(language, (), *texts))


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("ru", "Здравствуйте, мой заказ 4711 не пришёл"),
        ("de", "Die Überweisung für März fehlt"),
        ("ja", "注文したカメラがまだ届きません。ＡＢＣ ｶﾒﾗ"),
        ("ko", "주문한 카메라가 아직 안 왔어요"),
        ("zh", "我的订单还没有到"),
        ("ar", "لم يصل طلبي بعد"),
        ("hi", "मेरा ऑर्डर अभी तक नहीं आया"),
    ],
)
def test_a_language_is_written_in_its_own_script(language: str, text: str) -> None:
    assert not is_foreign(language, text)
    for other in set(_SCRIPTS) - {language}:
        if not _SCRIPTS[other] & _SCRIPTS[language]:
            assert is_foreign(other, text) == (language != "de"), other


def test_latin_letters_are_written_for_every_language() -> None:
    assert not is_foreign("ru", "Privet, moi zakaz ne prishel")
    assert not is_foreign("hi", "mera order nahi aaya")


def test_a_name_of_another_script_makes_no_text_of_it() -> None:
    assert not is_foreign("en", "My order to Вологда has not arrived", None)
    assert is_foreign("en", "iPhone", "не включается после обновления")


def test_nothing_is_said_of_languages_with_several_scripts_or_of_no_letters() -> None:
    assert not is_foreign("sr", "我的订单")
    assert not is_foreign("en", "4711 – €20 👍")
    assert not is_foreign("en")


def test_every_language_of_the_table_is_one() -> None:
    assert set(_SCRIPTS) <= LANGUAGES


@given(st.sampled_from(sorted(LANGUAGES)), st.lists(st.none() | st.text(), max_size=3))
def test_it_is_total_and_says_at_most_one_thing(language: str, texts: list[str | None]) -> None:
    assert len(language_signals(language, (), *texts)) <= 1
