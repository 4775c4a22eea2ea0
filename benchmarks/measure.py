"""How large the code is to its reader: files, lines, settings, and what one ticket passes.

`python -m benchmarks.measure [COMMIT...]` counts each commit in a work tree of its own, with the
packages that are installed here, or without any this checkout as it is. A column for each; the
last one is held to the targets. Prints a table, the goals, and one JSON object as its last line.

- lines: of the .py files in pipeline/, blank ones not counted.
- files and functions that a ticket passes: those of pipeline/ that run, in any thread, while one
  ticket goes from its topic to a committed result, over the broker in memory and a client that
  answers at once. Both stand-ins are left out, and so is what ran for the first tickets only.
- names: of .py files, other than `__init__` and `__main__`, that several folders have.
"""

import asyncio
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.goals import Part, Table, at_most
from benchmarks.report import conclude, parser

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "ARCHITECTURE.md"
HERE = "this checkout"
TARGETS = {
    "files": 220,
    "lines": 35_000,
    "files_of_a_ticket": 35,
    "functions_of_a_ticket": 130,
    "settings": 180,
    "names_twice": 10,
}
_WORDS = {
    "files": "files in pipeline/",
    "lines": "lines in pipeline/",
    "files_of_a_ticket": "files that an accepted ticket passes",
    "functions_of_a_ticket": "functions that it passes",
    "settings": "settings",
    "names_twice": "file names that occur twice",
}


@dataclass(frozen=True, slots=True)
class Measures:
    """What was counted of one commit; `benchmarks.measure` says how."""

    files: int
    lines: int
    files_of_a_ticket: int
    functions_of_a_ticket: int
    settings: int
    names_twice: int


async def measures_of(checkout: Path) -> Measures:
    """Count the code of a checkout."""
    sources = sorted((checkout / "pipeline").rglob("*.py"))
    lines = [line for path in sources for line in path.read_text("utf-8").splitlines()]
    names = Counter(path.name for path in sources if not path.name.startswith("__"))
    printed = await _output(
        *(sys.executable, "-P", str(ROOT / "benchmarks" / "ticket_path.py")),
        environment={**os.environ, "PYTHONPATH": str(checkout)},
    )
    passed = json.loads(printed.splitlines()[-1])
    return Measures(
        files=len(sources),
        lines=sum(bool(line.strip()) for line in lines),
        files_of_a_ticket=len(passed["files"]),
        functions_of_a_ticket=len(passed["functions"]),
        settings=passed["settings"],
        names_twice=sum(count > 1 for count in names.values()),
    )


async def run(commits: Sequence[str]) -> Part:
    """Count some commits, or this checkout."""
    found: dict[str, Measures] = {}
    for commit in commits:
        async with _work_tree(commit) as checkout:
            found[commit] = await measures_of(checkout)
    if not found:
        found[HERE] = await measures_of(ROOT)
    counts = {name: asdict(measures) for name, measures in found.items()}
    *_, last = counts.values()
    table = Table(
        ("", *counts),
        [(words, *(f"{each[key]:,}" for each in counts.values())) for key, words in _WORDS.items()],
    )
    return Part(
        "measure",
        "How large the code is",
        "Lines are those that are not blank. A ticket passes what runs in pipeline/ from its topic"
        " to a committed result, over the broker in memory and a client that answers at once; these"
        " two are not counted, nor what runs for the first tickets only. Names are those of .py"
        " files that several folders have.",
        [table],
        [at_most(_WORDS[key], last[key], target) for key, target in TARGETS.items()],
        {"measures": counts},
        ["What an event costs in CPU, beside another commit: `python -m benchmarks.beside`."],
    )


@asynccontextmanager
async def _work_tree(commit: str) -> AsyncIterator[Path]:
    with tempfile.TemporaryDirectory(prefix="haiku-measure-") as folder:
        await _output("git", "worktree", "add", "--quiet", "--detach", folder, commit)
        try:
            yield Path(folder)
        finally:
            await _output("git", "worktree", "remove", "--force", folder)


async def _output(*command: str, environment: dict[str, str] | None = None) -> str:
    """What a command prints.

    Raises:
        SystemExit: It failed; what it says of that is in the terminal already.
    """
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, env=environment, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    if process.returncode != 0:
        raise SystemExit(f"{command[0]} ended with {process.returncode}.")
    return output.decode()


def main() -> int:
    """Count and print."""
    made = parser("measure", __doc__, document=DOCUMENT)
    made.add_argument("commits", nargs="*", metavar="COMMIT", help="this checkout if none is given")
    options = made.parse_args()
    work = run(options.commits)
    return conclude(work, write=options.write, document=DOCUMENT)


if __name__ == "__main__":
    sys.exit(main())
