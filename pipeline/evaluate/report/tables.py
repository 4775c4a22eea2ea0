"""HTML as a report shows it; everything that comes from outside is escaped."""

import html
from collections.abc import Iterable, Sequence


class Markup(str):
    """HTML that is already safe."""

    __slots__ = ()


_ROW = "<tr>"
_CHOSEN = '<tr class="chosen">'

Cell = str | int | Markup | None


def table(
    headings: Sequence[str], rows: Iterable[Sequence[Cell]], *, chosen: int | None = None
) -> str:
    """A table; the first column is what a row is about, the others are right-aligned.

    Args:
        headings: Of the columns.
        rows: Cells; None is shown as a dash.
        chosen: The row that stands out, from 0.
    """
    head = "".join(f"<th>{html.escape(heading)}</th>" for heading in headings)
    body = "".join(
        f"{_CHOSEN if index == chosen else _ROW}{''.join(map(_cell, row))}</tr>"
        for index, row in enumerate(rows)
    )
    whole = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="scroll">{whole}</div>'


def paragraph(text: str, *, kind: str = "") -> str:
    """A paragraph."""
    shown = f' class="{html.escape(kind)}"' if kind else ""
    return f"<p{shown}>{text if isinstance(text, Markup) else html.escape(text)}</p>"


def section(title: str, *parts: str) -> str:
    """A section with a heading."""
    return f"<section><h2>{html.escape(title)}</h2>{''.join(parts)}</section>"


def figure(identity: str, caption: str) -> str:
    """A place for a plot."""
    below = f"<figcaption>{html.escape(caption)}</figcaption>"
    return f'<figure><div id="{identity}"></div>{below}</figure>'


def wide(text: str) -> Markup:
    """A cell of text: left-aligned, and broken where it is long."""
    return Markup(f'<td class="text">{html.escape(text)}</td>')


def _cell(cell: Cell) -> str:
    if isinstance(cell, Markup):
        return cell
    return f"<td>{'–' if cell is None else html.escape(str(cell))}</td>"
