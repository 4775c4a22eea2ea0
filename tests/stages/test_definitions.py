"""What source code defines."""

import time

import pytest

from pipeline.stages.code import NOT_PARSED, Definition, first_definition, parameter_texts, words_in


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
    except NOT_PARSED:
        return


def test_words_are_identifiers_of_any_script() -> None:
    assert words_in("func Größe(items []T, n2 int) { return 3e5 }") == {
        "func", "Größe", "items", "T", "n2", "int", "return",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("source", "name", "parameters"),
    [
        (
            "func (s *Server) Handle(w http.ResponseWriter, r *http.Request) error {",
            "Handle",
            ("w http.ResponseWriter", "r *http.Request"),
        ),
        ("func Map[T, U any](xs []T, f func(T) U) []U {", "Map", ("xs []T", "f func(T) U")),
        (
            "pub fn get<T>(&self, or: Option<Vec<(u8, u8)>>) {",
            "get",
            ("or: Option<Vec<(u8, u8)>>",),
        ),
        (
            "<T> Map<String, T> by(List<T> all, Function<T, String> f) {",
            "by",
            ("List<T> all", "Function<T, String> f"),
        ),
        ("// f(old, list)\nint f(int a /* (one, */, char *b)", "f", ("int a", "char *b")),
        ("def each(a, sep: ',', *rest, &block)", "each", ("a", "sep:", "*rest", "&block")),
        ("function on({x, y}, done = (e) => e) {", "on", ("{x, y}", "done = (e)  e")),
        ("int main(void) {", "main", ()),
        ("f()", "f", ()),
        ("SELECT 1", "f", None),
        ("f(a, b", "f", None),
        ("(a)", "", None),
    ],
)
def test_what_stands_between_the_brackets_is_a_functions_parameters(
    source: str, name: str, parameters: tuple[str, ...] | None
) -> None:
    assert parameter_texts(source, name) == parameters


@pytest.mark.parametrize("piece", ["/*", '"\\', "f ", "f<", "'", "#\n", "f[", "((", "f   \t"])
def test_hostile_code_is_searched_quickly(piece: str) -> None:
    source = (piece * 40_000)[:40_000]

    started = time.perf_counter()
    parameter_texts(source, "f")

    assert time.perf_counter() - started < 2
