"""Untidy text, tidied by rules: markup, blanks and marks; no word is exchanged."""

import html
import re

_BREAKS = re.compile(r"<\s*(?:br|/p|/div|/li|/tr)\b[^<>]*>", re.IGNORECASE)
_TAGS = re.compile(r"<[^<>]{1,500}>")
_QUOTED = re.compile(r"^(?:[ \t]*>)+[ \t]*", re.MULTILINE)
_ADDED = re.compile(
    r"^[\s-]*(?:sent from my|gesendet von meinem|von meinem|envoyé de mon|enviado desde mi)\b.*$",
    re.IGNORECASE | re.MULTILINE,
)
_RULES = (
    (re.compile(r"[ \t\u00a0]+"), " "),
    (re.compile(r" ?\n ?"), "\n"),
    (re.compile(r"\n{3,}"), "\n\n"),
    (re.compile(r"([!?])(?:[!?]|1(?!\w))+"), r"\1"),
    (re.compile(r"([,;])[,;]+"), r"\1"),
    (re.compile(r"(?<!\.)\.\.(?!\.)"), "."),
    (re.compile(r" +([,;!?]|\.(?=\s|$))"), r"\1"),
    (re.compile(r"([,;])(?=[^\W\d_])"), r"\1 "),
    (re.compile(r"([a-z]{2,}[.!?])(?=[A-Z][a-z])"), r"\1 "),
)
_BEGINNING = re.compile(r"(?:^|(?<=[.!?] )|(?<=\n))[^\W\d_]")


def tidied(text: str) -> str:
    """The text without markup, in clean form."""
    text = html.unescape(_TAGS.sub("", _BREAKS.sub("\n", text)))
    text = _ADDED.sub("", _QUOTED.sub("", text))
    for pattern, instead in _RULES:
        text = pattern.sub(instead, text)
    return _BEGINNING.sub(lambda match: match.group().upper(), text.strip())
