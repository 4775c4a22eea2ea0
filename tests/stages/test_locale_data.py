"""The data of `pipeline.stages.fields.amounts` are Babel's."""

import babel
import pytest

from pipeline.stages.checks.text_quality import fold
from pipeline.stages.fields.amounts import (
    FILE,
    MAGNITUDES,
    MONTHS,
    SYMBOLS,
    TERMS,
    currency_decimals,
    plain_word,
)
from tests.stages.locale_data import build, written


def test_the_file_is_what_babel_has() -> None:
    if f'"babel": "{babel.__version__}"' not in FILE.read_text("utf-8"):
        pytest.skip("another version of Babel; run `python -m tests.stages.locale_data`")
    assert FILE.read_text("utf-8") == written(build())


@pytest.mark.parametrize(
    ("currency", "decimals"),
    [("EUR", 2), ("TND", 3), ("KWD", 3), ("BHD", 3), ("OMR", 3), ("JOD", 3), ("LYD", 3),
     ("JPY", 0), ("KRW", 0), ("CLP", 0), ("HUF", 0), ("CLF", 4), ("UYW", 4), ("IQD", None),
     (None, None)],
)  # fmt: skip
def test_a_currency_has_its_own_number_of_decimals(
    currency: str | None, decimals: int | None
) -> None:
    assert currency_decimals(currency) == decimals


def test_words_are_in_the_form_in_which_they_are_looked_up() -> None:
    assert all(word == plain_word(word) for words in (SYMBOLS, MAGNITUDES) for word in words)
    assert all(word == fold(word) for words in (MONTHS, TERMS) for word in words)
    assert MONTHS["marc"] == {3}
    assert SYMBOLS["€"] == {"EUR"}
