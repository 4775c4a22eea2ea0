"""Examples of docstrings, run where they can do no harm."""

import os
import platform
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import CodeSettings
from pipeline.model.errors import UsageError
from pipeline.stages.checks import examples
from pipeline.stages.checks.example_child import ARCHITECTURES
from pipeline.stages.checks.examples import MACHINES, example_signals
from pipeline.stages.code import Code, CodeAnswer, CodeEvent, first_definition
from tests.stages.test_code import EVENT, RIGHT, STAGE

SOURCE = "def add(left, right=0):\n    return left + right\n"
confined = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in MACHINES,
    reason="needs Linux with seccomp on a machine whose system calls are known",
)


def codes(example: str, source: str = SOURCE) -> list[str]:
    return [each.code for each in example_signals(source, example)]


@confined
@pytest.mark.parametrize(
    "example",
    [
        ">>> add(1, 2)\n3",
        ">>> add('1', 2)\nTraceback (most recent call last):\nTypeError: some text",
        ">>> import math\n>>> math.floor(add(1.5))\n1",
        "add(1, 2)",
        "",
    ],
)
def test_an_example_that_does_what_it_shows_is_no_signal(example: str) -> None:
    assert codes(example) == []


@confined
@pytest.mark.parametrize("example", [">>> add(1, 2)\n4", ">>> add(1, 2, 3)\n6", ">>> sub(1)\n1"])
def test_an_example_that_does_something_else_is_a_signal(example: str) -> None:
    assert codes(example) == ["example_failed"]


@confined
@pytest.mark.parametrize(
    "work",
    [
        "open({file!r}, 'w')",
        "open('/etc/hosts').read()",
        "import socket; socket.socket()",
        "os.fork()",
        "os.kill({parent}, 9)",
        "os.execv('/bin/sh', ['sh', '-c', 'echo > {file}'])",
        "os.remove({file!r})",
        "'a' * 10**10",
        "os.write(1, b'x' * 10**7)",
    ],
)
def test_what_an_example_must_not_do_fails_and_is_not_judged(work: str, tmp_path: Path) -> None:
    file = tmp_path / "kept"
    file.write_text("as it was")
    do = work.format(file=str(file), parent=os.getpid())
    assert codes(f">>> import os; {do}\n>>> 1\n2") == []
    assert codes(">>> 1\n2", f"import os\n{do}\n") == []
    assert file.read_text() == "as it was"


@confined
@pytest.mark.parametrize("before", ["", "import signal; signal.alarm(0)\n>>> "])
def test_an_example_that_never_ends_is_ended(before: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples, "SECONDS", 0.5)
    assert codes(f">>> {before}while True: pass\n") == []


@confined
def test_an_example_signals_nobody_by_way_of_the_c_library_either() -> None:
    kill = f"ctypes.CDLL(None, use_errno=True).kill({os.getpid()}, 9), ctypes.get_errno()"
    assert codes(f">>> import ctypes\n>>> {kill}\n(-1, 1)") == []


def test_the_machines_are_those_whose_system_calls_are_known() -> None:
    assert set(MACHINES) == set(ARCHITECTURES)


@confined
def test_examples_are_asked_for_and_run_only_where_that_is_set() -> None:
    event = CodeEvent(id="1", language="python", source=SOURCE)
    said: dict[str, Any] = {
        **RIGHT, "quote": "def add(left, right=0):", "name": "add", "raises": [],
        "parameters": [
            {"name": name, "type": "", "description": "A number."} for name in ("left", "right")
        ],
        "example": ">>> add(1, 1)\n3",
    }  # fmt: skip
    answer = CodeAnswer.model_validate(said)
    on = Code(CodeSettings(run_examples=True))
    assert [each.code for each in on.signals(event, answer)] == ["example_failed"]
    assert not Code(CodeSettings()).signals(event, answer)
    assert "## Examples" in on.question(event).instructions
    assert "## Examples" not in STAGE.question(event).instructions


def test_a_machine_that_cannot_confine_them_refuses_the_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(examples, "MACHINES", ())
    with pytest.raises(UsageError, match="run_examples needs Linux"):
        Code(CodeSettings(run_examples=True))


@pytest.mark.parametrize(
    ("body", "raises", "may_raise", "is_unknown"),
    [
        ("if x: raise ValueError('x')\n  raise errors.NotFound", "NotFound ValueError", "", False),
        ("try:\n    raise ValueError\n  except ValueError:\n    pass", "", "", False),
        ("try:\n    g()\n  except (KeyError, OSError):\n    raise", "KeyError OSError", "", False),
        ("try:\n    g()\n  except KeyError as e:\n    raise e", "", "", True),
        ("try:\n    g()\n  except Exception:\n    raise RuntimeError from None", "RuntimeError", "",
         False),
        ("def b(): raise ValueError\n  assert b", "", "AssertionError", False),
        ("match x:\n    case 1: raise KeyError\n    case _: raise make()", "KeyError", "", True),
    ],
)  # fmt: skip
def test_errors_are_those_that_a_function_raises_and_does_not_catch(
    body: str, raises: str, may_raise: str, is_unknown: bool
) -> None:
    defined = first_definition(f"def a(x):\n  {body}\n")
    assert defined is not None
    assert defined.raises == set(raises.split())
    assert defined.may_raise == set(raises.split()) | set(may_raise.split())
    assert defined.raises_unknown == is_unknown


@pytest.mark.parametrize(
    ("raises", "code", "strength"),
    [
        ([], "missing_field", 0.6),
        (["ValueError", "KeyError"], "evidence_not_found", 0.8),
    ],
)
def test_described_errors_are_held_to_the_source(
    raises: list[str], code: str, strength: float
) -> None:
    said = [{"name": name, "description": "If so."} for name in raises]
    answer = CodeAnswer.model_validate({**RIGHT, "raises": said})
    assert [(each.code, each.strength) for each in STAGE.signals(EVENT, answer)] == [
        (code, strength)
    ]
