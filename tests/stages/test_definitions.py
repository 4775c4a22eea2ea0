"""What source code defines."""

import pytest

from pipeline.stages.definitions import Definition, Unparsable, first_definition, words_in


@pytest.mark.parametrize(
    ("source", "definition"),
    [
        ("def f(): pass", Definition("f", ())),
        (
            "import x\n\n@x.y\nasync def f(a, /, b, *c, d=1, **e): 1",
            Definition("f", tuple("abcde")),
        ),
        ("class A:\n  def __init__(self, a, *, b): ...\n", Definition("A", ("a", "b"))),
        ("class A:\n  x = 1\n", Definition("A", ())),
        ("def m(self, a): ...", Definition("m", ("a",))),
        ("def f(größe): ...", Definition("f", ("größe",))),
        ("x = 1", None),
        ("", None),
    ],
)
def test_the_first_definition_is_found(source: str, definition: Definition | None) -> None:
    assert first_definition(source) == definition


@pytest.mark.parametrize(
    "source",
    ["def f(:", "\0", "(" * 5000, "-" * 40_000 + "1", "a" + ".a" * 19_000, "print 'x'", "\tx\n y"],
)
def test_what_cannot_be_parsed_says_so_or_defines_nothing(source: str) -> None:
    try:
        assert first_definition(source) is None
    except Unparsable:
        return


def test_words_are_identifiers_of_any_script() -> None:
    assert words_in("func Größe(items []T, n2 int) { return 3e5 }") == {
        "func", "Größe", "items", "T", "n2", "int", "return",
    }  # fmt: skip
