"""No file that viewers open is refused: a sample of the corpus, made by libraries alone.

All of it, with that of other programs: `make corpus`.
"""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from pypdf import PdfReader

from tests.corpus.__main__ import LIBRARIES, made_by
from tests.corpus.feeding import fault_of
from tests.corpus.made import Made, Making, ProgramMissing, program, saved, written

EVERY = 4
"""One file in four keeps this a matter of seconds."""

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("making", LIBRARIES)
def test_no_file_that_viewers_open_is_refused(making: Making) -> None:
    made = list(made_by([making]))
    assert len({file.name for file in made}) == len(made)
    faults = {file.name: fault_of(file) for file in made[::EVERY]}
    assert {name: fault for name, fault in faults.items() if fault} == {}


def test_a_file_that_is_refused_is_reported() -> None:
    half = saved(written((300, 400)), "PNG")[:3000]
    fault = fault_of(Made("nobody", "half.png", half, "image/png"))
    assert fault is not None
    assert "twentieth" in fault


def test_pages_that_are_counted_wrongly_are_reported() -> None:
    data = saved(written(), "PDF", save_all=True, append_images=[written()])
    assert len(PdfReader(io.BytesIO(data)).pages) == 2
    assert fault_of(Made("pillow", "two.pdf", data, "application/pdf", 2)) is None
    for wrong in (1, 3):
        assert fault_of(Made("pillow", "two.pdf", data, "application/pdf", wrong)) is not None


def test_a_program_that_is_missing_is_skipped_with_a_sentence(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def by_nobody(folder: Path) -> Iterator[Made]:
        program("no-such-program")
        yield Made("nobody", "nothing", b"", "")

    with pytest.raises(ProgramMissing):
        list(by_nobody(Path()))
    assert list(made_by([by_nobody])) == []
    assert "skipped by nobody: no-such-program" in capsys.readouterr().err
