"""Every error that commands raise by their own words ends in what to do, as far as it is found.

Looked at are the sentences at which the two general errors are made, with what is put into them
left out. What is made of several parts, and what an error of another type says, is not found here.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import pipeline

ROOT = Path(pipeline.__file__).parent
ERRORS = {"PipelineError", "UsageError"}
NOT_COMMANDS = ("testing", "desk")  # desk: pages, whose sentences are beside what they are about
ADVICE = re.compile(
    # `What is so: do this`; a choice of what there is; a command, a setting or a document to see.
    r"[:;] [a-z`{-][^:;]*|[Tt]here (are|is) \{\}|\bit (reads|has) \{\}|`[^`]+`|--[a-z]"
    r"|\b(Say|Set|Give|See|Use|Make|Name|Write|Start|Stop|Move|Go|Raise|Install|must|needs?|takes?)\b"
)


def sentences() -> Iterator[tuple[str, str]]:
    for path in sorted(ROOT.rglob("*.py")):
        if path.relative_to(ROOT).parts[0] in NOT_COMMANDS:
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id=name), args=[said, *_]) if name in ERRORS:
                    if (text := text_of(said)) is not None:
                        yield f"{path.relative_to(ROOT)}:{node.lineno}", text


def text_of(node: ast.expr) -> str | None:
    """A text in the code, with `{}` for what is put into it; None where it is something else."""
    match node:
        case ast.Constant(value=str() as text):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(text_of(part) or "{}" for part in parts)
        case ast.BinOp(left=left, right=right):
            return (text_of(left) or "{}") + (text_of(right) or "{}")
    return None


FOUND = dict(sentences())


def test_sentences_are_found() -> None:
    assert len(FOUND) > 100


@pytest.mark.parametrize("place", FOUND)
def test_an_error_says_what_to_do(place: str) -> None:
    assert ADVICE.search(FOUND[place]), FOUND[place]
