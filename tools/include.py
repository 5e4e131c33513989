#!/usr/bin/python3
"""Puts files into pages verbatim, between markers that Markdown does not show.

    tools/include.py                 brings every page of README.md and docs/ up to date

A page says <!-- include: sessions/full.txt --> and <!-- end -->; what stands between the two
is the file (below docs/), indented.  "from WORDS" behind the name begins at the first line that
begins so.
"""

import re
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
DOCS = TOP / "docs"
_MARKED = re.compile(
    r"(<!-- include: (\S+?)(?: from (.+?))? -->\n)(.*?)(<!-- end -->)", re.S
)


def pages():
    """All pages that may include something."""
    return [TOP / "README.md", *sorted(DOCS.rglob("*.md"))]


def included(text):
    """The files that a page includes, below docs/."""
    return [match[2] for match in _MARKED.finditer(text)]


def updated(text):
    """A page's text as it should be."""
    return _MARKED.sub(lambda match: match[1] + _content(match[2], match[3]) + match[5], text)


def _content(name, begin):
    lines = (DOCS / name).read_text(encoding="utf-8").splitlines()
    if begin:
        starts = [index for index, line in enumerate(lines) if line.startswith(begin)]
        lines = lines[starts[0]:] if starts else []
    return "\n" + "".join(f"    {line}".rstrip() + "\n" for line in lines) + "\n"


def main():
    for page in pages():
        text = page.read_text(encoding="utf-8")
        new = updated(text)
        if new != text:
            page.write_text(new, encoding="utf-8")
            print(f"{page.relative_to(TOP)} brought up to date")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(__doc__)
    main()
