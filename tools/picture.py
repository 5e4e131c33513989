#!/usr/bin/python3
"""Draws a picture: a small text that a human reads -> SVG.

    tools/picture.py docs/pictures/chain.picture > docs/pictures/chain.svg

A line is a word and its arguments; lengths are in pixels, strings in quotes:

    size WIDTH HEIGHT "TITLE"
    area X Y WIDTH HEIGHT "NAME"           a process, a machine: what boxes lie in
    box NAME X Y WIDTH HEIGHT "LINE"…      KIND before NAME: data, fail or gone
    arrow FROM:SIDE TO:SIDE "LABEL"        SIDE: left right top bottom, with +N or -N
                                           pixels along it; dashed instead of arrow
    elbow FROM:SIDE TO:SIDE "LABEL"        dashed, first to the side and then up or down
    over FROM:SIDE TO:SIDE HEIGHT          up by HEIGHT, across, and down again
    bar X Y WIDTH "LABEL"                  something that lasts; ended instead of bar
    text X Y "WORDS"
"""

import re
import shlex
import sys
from pathlib import Path
from xml.sax.saxutils import escape

# A card of its own ground, so that it can be read on a light and on a dark page.
_STYLE = """
  .ground { fill: #fdfdfb; stroke: #c9c9c4 }
  .area { fill: #f1f1ec; stroke: #b9b9b2 }
  .box { fill: #ffffff; stroke: #3a3a38 }
  .data { fill: #dbe9f8; stroke: #2b5c8f }
  .fail { fill: #f8dcd7; stroke: #a63a28 }
  .gone { fill: #ececea; stroke: #9a9a96 }
  .bar { fill: #b5d2ee; stroke: #2b5c8f }
  .line { fill: none; stroke: #3a3a38; stroke-width: 1.4 }
  .dashed { fill: none; stroke: #3a3a38; stroke-width: 1.4; stroke-dasharray: 5 4 }
  .tip { fill: #3a3a38 }
  text { font: 13px sans-serif; fill: #1d1d1b }
  .small, .label { font-size: 12px; fill: #4a4a47 }
  .name { font-weight: bold }
  .label { paint-order: stroke; stroke: #fdfdfb; stroke-width: 4px; stroke-linejoin: round }
  .inside { stroke: #f1f1ec }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #1c1e21; stroke: #3b3e43 }
    .area { fill: #26292d; stroke: #4b4f55 }
    .box { fill: #1c1e21; stroke: #c8cacd }
    .data { fill: #1d3a57; stroke: #7fb2e5 }
    .fail { fill: #55241c; stroke: #e88a78 }
    .gone { fill: #2d3034; stroke: #6f747b }
    .bar { fill: #1f4a75; stroke: #7fb2e5 }
    .line, .dashed { stroke: #c8cacd }
    .tip { fill: #c8cacd }
    text { fill: #ececee }
    .small, .label { fill: #b9bcc1 }
    .label { stroke: #1c1e21 }
    .inside { stroke: #26292d }
  }
"""
_KINDS = ("data", "fail", "gone")
_LINE = 17


class Picture:
    """Takes the lines of a source and knows the SVG."""

    def __init__(self):
        self._boxes = {}
        self._areas = []
        self._size = (0, 0, "")
        self._below, self._above = [], []  # areas and boxes; arrows over them

    def read(self, source):
        """All lines of a source."""
        for number, line in enumerate(source.splitlines(), 1):
            words = shlex.split(line, comments=True)
            if not words:
                continue
            try:
                self._draw(*words)
            except (KeyError, TypeError, ValueError) as error:
                raise SystemExit(f"line {number}: {line}: {error}") from None

    def svg(self):
        """The finished picture."""
        width, height, title = self._size
        body = "\n".join(self._below + self._above)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
            f' width="{width}" height="{height}" role="img">\n<title>{escape(title)}</title>\n'
            f"<style>{_STYLE}</style>\n"
            '<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8"'
            ' markerHeight="8" orient="auto-start-reverse"><path class="tip"'
            ' d="M 0 0 L 10 5 L 0 10 z"/></marker></defs>\n'
            f'<rect class="ground" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}"'
            f' rx="8"/>\n{body}\n</svg>\n'
        )

    def _draw(self, word, *arguments):
        if word in _KINDS:
            self._box(*arguments, kind=word)
            return
        {
            "size": self._take_size, "area": self._area, "box": self._box, "arrow": self._arrow,
            "dashed": self._dashed, "elbow": self._elbow, "over": self._over, "bar": self._bar,
            "ended": self._ended, "text": self._text,
        }[word](*arguments)

    # The words of a source

    def _take_size(self, width, height, title):
        self._size = (int(width), int(height), title)

    def _area(self, x, y, width, height, name):
        x, y, width, height = map(int, (x, y, width, height))
        self._areas.append((x, y, width, height))
        self._below.append(_rectangle("area", x, y, width, height))
        self._below.append(_text("small name", x + 12, y + 20, name))

    def _box(self, name, x, y, width, height, *lines, kind="box"):
        x, y, width, height = map(int, (x, y, width, height))
        self._boxes[name] = (x, y, width, height)
        self._below.append(_rectangle(kind, x, y, width, height))
        top = y + height / 2 - (len(lines) - 1) * _LINE / 2 + 4.5
        for index, line in enumerate(lines):
            style = "small" if index else "name"
            self._below.append(_text(style, x + width / 2, top + index * _LINE, line, "middle"))

    def _arrow(self, start, end, label="", style="line"):
        (x1, y1), (x2, y2) = self._side(start), self._side(end)
        self._path(style, (x1, y1), (x2, y2))
        middle = ((x1 + x2) / 2, (y1 + y2) / 2)
        if abs(x2 - x1) > abs(y2 - y1):  # the label is above the line, or to its right
            self._label(middle[0], middle[1] - 7, label, "middle")
        else:
            self._label(middle[0] + 8, middle[1] + 4, label, "start")

    def _dashed(self, start, end, label=""):
        self._arrow(start, end, label, "dashed")

    def _elbow(self, start, end, label=""):
        (x1, y1), (x2, y2) = self._side(start), self._side(end)
        self._path("dashed", (x1, y1), (x2, y1), (x2, y2))
        self._label((x1 + x2) / 2, y1 - 7, label, "middle")

    def _over(self, start, end, height):
        (x1, y1), (x2, y2) = self._side(start), self._side(end)
        top = min(y1, y2) - int(height)
        self._path("line", (x1, y1), (x1, top), (x2, top), (x2, y2))

    def _path(self, style, *points):
        way = " L ".join(f"{x:g} {y:g}" for x, y in points)
        self._above.append(f'<path class="{style}" d="M {way}" marker-end="url(#tip)"/>')

    def _label(self, x, y, words, anchor):
        if words:
            inside = any(left < x < left + width and top < y < top + height
                         for left, top, width, height in self._areas)
            self._above.append(_text("label inside" if inside else "label", x, y, words, anchor))

    def _bar(self, x, y, width, label, kind="bar"):
        self._below.append(_rectangle(kind, int(x), int(y), int(width), 16))
        self._below.append(_text("small", int(x) + 6, int(y) + 12.5, label))

    def _ended(self, x, y, width, label):
        self._bar(x, y, width, label, "gone")

    def _text(self, x, y, words):
        self._below.append(_text("small", int(x), int(y), words))

    def _side(self, point):
        match = re.fullmatch(r"([\w-]+):(left|right|top|bottom)([+-]\d+)?", point)
        if not match:
            raise ValueError(f"no place {point}")
        x, y, width, height = self._boxes[match[1]]
        along = int(match[3] or 0)
        return {
            "left": (x, y + height / 2 + along),
            "right": (x + width, y + height / 2 + along),
            "top": (x + width / 2 + along, y),
            "bottom": (x + width / 2 + along, y + height),
        }[match[2]]


def _rectangle(kind, x, y, width, height):
    return f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="4"/>'


def _text(kind, x, y, words, anchor="start"):
    return f'<text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(words)}</text>'


def render(path):
    """The SVG of a source file."""
    picture = Picture()
    picture.read(Path(path).read_text(encoding="utf-8"))
    return picture.svg()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.stdout.write(render(sys.argv[1]))
