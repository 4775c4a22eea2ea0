"""docs/rooms.svg: the rooms of the code, by the import contract of pyproject.toml.

`python -m tests.docs.rooms` writes it again; a test says when that is needed.
"""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "docs" / "rooms.svg"
STEPS = {
    "app": "wires",
    "kafka": "1, 9",
    "stream": "2, 3, 4, 9",
    "cascade": "5, 6, 8",
    "stages": "5, 6, 8",
    "claude": "7",
}
"""Of one record's way in docs/ARCHITECTURE.md, by room."""
_WIDTH, _MARGIN, _LEFT, _GAP = 960, 16, 120, 12
_HEIGHT, _ROW = 36, 48

_HEAD = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" \
aria-labelledby="t d" font-family="system-ui, sans-serif" font-size="14">
  <title id="t">The rooms of the code</title>
  <desc id="d">From top to bottom: {order}. Each imports only from below.</desc>
  <style>
    rect {{ fill: #f1f1f1; stroke: #777; }}
    .way {{ fill: #e8eefc; stroke: #4464ad; }}
    .page {{ fill: #fff; stroke: none; }}
    text {{ fill: #1c1c1c; text-anchor: middle; }}
    .word {{ font-size: 12px; fill: #555; }}
    path {{ fill: none; stroke: #777; stroke-width: 1.5; }}
    @media (prefers-color-scheme: dark) {{
      rect {{ fill: #2b2b2b; stroke: #999; }}
      .way {{ fill: #1d2a4a; stroke: #8ea8e8; }}
      .page {{ fill: #161616; stroke: none; }}
      text {{ fill: #f0f0f0; }}
      .word {{ fill: #bbb; }}
      path {{ stroke: #aaa; }}
    }}
  </style>
  <rect class="page" width="{width}" height="{height}" rx="8"/>
  <path d="M60 24V{tip}m-5 -9 5 9 5 -9"/><text class="word" x="60" y="{foot}">imports</text>
"""


def layers() -> list[list[str]]:
    """The rooms from the commands down, those that do not know each other side by side."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    (rooms,) = [each["layers"] for each in contracts if "containers" not in each]
    return [
        [name.strip().removeprefix("pipeline.") for name in layer.split("|")] for layer in rooms
    ]


def picture() -> str:
    """The picture as SVG."""
    rows = layers()
    height = 2 * _MARGIN + _ROW * len(rows) - (_ROW - _HEIGHT)
    parts = [
        _HEAD.format(
            width=_WIDTH,
            height=height,
            order="; ".join(", ".join(row) for row in rows),
            tip=height - 40,
            foot=height - 20,
        )
    ]
    for number, row in enumerate(rows):
        width = (_WIDTH - _MARGIN - _LEFT - _GAP * (len(row) - 1)) / len(row)
        for place, room in enumerate(row):
            x, y = _LEFT + place * (width + _GAP), _MARGIN + number * _ROW
            steps = STEPS.get(room)
            kind = ' class="way"' if steps else ""
            label = f'{room} <tspan class="word">({steps})</tspan>' if steps else room
            parts.append(
                f'  <rect{kind} x="{x:.0f}" y="{y}" width="{width:.0f}" height="{_HEIGHT}"'
                f' rx="6"/><text x="{x + width / 2:.0f}" y="{y + 23}">{label}</text>\n'
            )
    return "".join([*parts, "</svg>\n"])


if __name__ == "__main__":
    PICTURE.write_text(picture(), "utf-8")
