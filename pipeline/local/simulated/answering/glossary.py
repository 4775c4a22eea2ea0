"""What a text says about names: `- billing: Invoices, charges. Example: "..."`."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

_EXAMPLES = re.compile(
    r"\b(?:e\.g\.|examples?:|for example|such as|z\.\s?b\.|beispiele?:)", re.IGNORECASE
)
_BEFORE = re.compile(r"(?:^|[\n;|,(.>])[\s>*•\-|\d.)(\"'`]*(?:<\w+ \w+=[\"'])?$")
_AFTER = re.compile(r"[\"'`*]*\s*(?:[:=|–—>]|\s-\s|\()\s*")
_END = re.compile(r"\n\s*\n|\n(?=\S[^\n]{0,40}:\s*(?:\n|$))")


@dataclass(frozen=True, slots=True)
class Entry:
    """What is said of a name.

    Args:
        description: In its own words.
        examples: What follows `Example:`, `e.g.` and the like.
    """

    description: str = ""
    examples: str = ""


_NOTHING = Entry()


def look_up(name: str, names: Sequence[str], texts: Sequence[str]) -> Entry:
    """What texts say of a name.

    Understood are lines and clauses that begin with the name, in any of the usual ways:
    `- billing: ...`, `"billing" - ...`, `| billing | ... |`, `<label name="billing">...`.

    Args:
        name: The name.
        names: All names of the same kind: where the next begins, the entry ends.
        texts: Where to look.
    """
    entries = [entry for text in texts if (entry := _glossary(tuple(names), text).get(name))]
    if len(entries) == 1:
        return entries[0]
    return Entry(
        " ".join(entry.description for entry in entries),
        " ".join(entry.examples for entry in entries),
    )


@lru_cache(maxsize=1024)
def _glossary(names: tuple[str, ...], text: str) -> Mapping[str, Entry]:
    if not names:
        return {}
    either = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    starts: list[tuple[int, int, str]] = []
    for match in re.finditer(rf"(?<!\w)(?:{either})(?!\w)", text):
        before = text[max(0, match.start() - 60) : match.start()]
        after = _AFTER.match(text, match.end())
        if after and _BEFORE.search(before if match.start() > 60 else f"\n{before}"):  # noqa: PLR2004
            starts.append((match.start(), after.end(), match.group()))
    found: dict[str, Entry] = {}
    for i, (_, end, name) in enumerate(starts):
        until = starts[i + 1][0] if i + 1 < len(starts) else len(text)
        entry = _entry(_END.split(text[end:until])[0])
        known = found.get(name, _NOTHING)
        found[name] = Entry(
            f"{known.description} {entry.description}".strip(),
            f"{known.examples} {entry.examples}".strip(),
        )
    return found


def _entry(clause: str) -> Entry:
    cut = _EXAMPLES.search(clause)
    if cut is None:
        return Entry(clause.strip())
    return Entry(clause[: cut.start()].strip(), clause[cut.end() :].strip())
