"""Files that were made, and by what."""

import io
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

_PATIENCE = 60.0
"""Seconds for one run of a program; a bound on hanging."""


@dataclass(frozen=True, slots=True)
class Made:
    """A file that viewers open.

    Args:
        program: What wrote it.
        name: Its name in the corpus, with an ending.
        data: The file.
        declared: The content type that its publisher gives.
        pages: Of a PDF; None where another reader has to count them.
    """

    program: str
    name: str
    data: bytes = field(repr=False)
    declared: str
    pages: int | None = None


Making = Callable[[Path], Iterator[Made]]
"""Makes files; may use the folder, which is empty, for what lies between."""


class ProgramMissing(Exception):
    """A program that makes a part of the corpus is not on this machine."""


def program(*names: str) -> str:
    """Where a program is, under any of its names.

    Raises:
        ProgramMissing: Nowhere.
    """
    for name in names:
        if found := shutil.which(name):
            return found
    raise ProgramMissing(f"{names[0]} is not on this machine")


def run(command: Sequence[str], *, accepted: tuple[int, ...] = (0,)) -> None:
    """Run a program to its end.

    Raises:
        ProgramMissing: It is here, but cannot do that.
    """
    done = subprocess.run(command, capture_output=True, timeout=_PATIENCE, check=False)
    if done.returncode not in accepted:
        said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
        raise ProgramMissing(f"{Path(command[0]).name} cannot do that: {' '.join(said[-1:])}")


def written(size: tuple[int, int] = (160, 220), mode: str = "RGB") -> Image.Image:
    """A page with writing on it."""
    page = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(page)
    for row in range(4, size[1] - 12, 16):
        draw.text((6, row), f"{row}: total {row * 7}.00", fill=(row % 120, 0, row % 200))
    return page.convert(mode)


def saved(image: Image.Image, file_format: str, **options: Any) -> bytes:  # noqa: ANN401 - Pillow's
    """A picture as a file."""
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()
