"""`python -m tests.corpus FOLDER`: no file that viewers open may be refused.

Writes some hundred PDFs and pictures by many programs into a folder, feeds each through the code
of the stages, and prints one JSON object as the last line; exits 0 only if none was refused, the
pages of all were counted rightly, and there are 300 of each kind. What makes a part of them may
be missing on a machine: that is said, and those are fewer.
"""

import argparse
import json
import logging
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.corpus.feeding import Findings, fault_of
from tests.corpus.made import Made, Making, ProgramMissing
from tests.corpus.pdfs_by_libraries import by_hand, by_pikepdf, by_pypdf
from tests.corpus.pdfs_by_libraries import by_pillow as pdfs_by_pillow
from tests.corpus.pdfs_by_programs import (
    by_cairo,
    by_chromium,
    by_ghostscript,
    by_libreoffice,
    by_qpdf,
)
from tests.corpus.pdfs_by_reportlab import by_reportlab
from tests.corpus.pictures_by_imagemagick import by_imagemagick
from tests.corpus.pictures_by_pillow import by_pillow as pictures_by_pillow
from tests.corpus.pictures_by_pillow import large_by_pillow

LIBRARIES: tuple[Making, ...] = (
    by_reportlab,
    by_pikepdf,
    by_pypdf,
    pdfs_by_pillow,
    by_hand,
    pictures_by_pillow,
)
"""They come with the project's own environment, and take seconds."""
PROGRAMS: tuple[Making, ...] = (
    large_by_pillow,
    by_ghostscript,
    by_qpdf,
    by_cairo,
    by_libreoffice,
    by_chromium,
    by_imagemagick,
)
ENOUGH = 300
"""Files of each kind."""


def made_by(makings: Sequence[Making]) -> Iterator[Made]:
    """All files of some makings; one whose program is missing is skipped, with a sentence."""
    for making in makings:
        with tempfile.TemporaryDirectory(prefix="corpus-") as between:
            try:
                yield from making(Path(between))
            except ProgramMissing as missing:
                sys.stderr.write(f"skipped {making.__name__.replace('_', ' ')}: {missing}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the corpus and feed it; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.corpus", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the files are written")
    parser.add_argument(
        "--libraries", action="store_true", help="only what takes seconds, without other programs"
    )
    options = parser.parse_args(arguments)
    # Makers warn of what they are asked to do: an old cipher, a transparent colour.
    warnings.simplefilter("ignore")
    logging.getLogger("pypdf").setLevel(logging.ERROR)
    started = time.monotonic()
    findings, kinds = Findings(), Counter[str]()
    for made in made_by(LIBRARIES if options.libraries else (*PROGRAMS, *LIBRARIES)):
        place = options.folder / made.program / made.name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(made.data)
        kinds["pdfs" if made.name.endswith(".pdf") else "images"] += 1
        findings.fed[made.program] += 1
        if fault := fault_of(made):
            findings.refused[made.name] = fault
            sys.stderr.write(f"{place}: {fault}\n")
    is_enough = options.libraries or min(kinds["pdfs"], kinds["images"]) >= ENOUGH
    summary = {
        **findings.report(),
        **kinds,
        "seconds": round(time.monotonic() - started, 1),
        "ok": is_enough and not findings.refused,
    }
    sys.stdout.write(json.dumps(summary) + "\n")
    return 0 if summary["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
