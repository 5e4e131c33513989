#!/usr/bin/python3
"""Makes the manual page qemu-fd(5) of the pages in docs/.

    tools/manpage.py VERSION > build/qemu-fd.5

Knows the Markdown that those pages use: headings, paragraphs, lists, tables, indented code, links,
code and emphasis.  Needs nothing but Python.
"""

import email.utils
import re
import sys
import textwrap
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
DOCS = TOP / "docs"

_HEAD = r""".\" made of docs/*.md by tools/manpage.py
.TH QEMU\-FD 5 "{date}" "qemu\-fd {version}" "Bacula File Daemon"
.SH NAME
qemu\-fd \- Bacula File Daemon plugin that backs up running QEMU guests
.SH SYNOPSIS
.nf
.B Plugin = \(dqqemu: qmpcontrol=\fIPATH\fB [\fINAME\fB=\fIVALUE\fB]...\(dq
.B Plugin = \(dqqemu: mode=PVE [\fINAME\fB=\fIVALUE\fB]...\(dq
.fi
.SH DESCRIPTION
.B qemu\-fd.so
is loaded by Bacula's File Daemon on the host that runs the guests.
It dumps the disks of running guests as qcow2 images, whole or what has
changed since an earlier job, and puts them together again in a restore.
What it is to do is said on the Plugin line of a FileSet, and for a restore
in the console.
"""
_FILES = r""".SH FILES
.TP
.I /usr/lib/bacula/qemu\-fd.so
The plugin. Bacula's own packages have their plugins in
.IR /opt/bacula/plugins .
.TP
.I /@qemu/NAME/VMID/config.json
In a backup: the guest's description.
.TP
.I /@qemu/NAME/VMID/DRIVE.qcow2
In a backup: a disk, whole or what has changed.
.TP
.I qemu\-fd\-JOBID\-XXXXXX
In the working directory, below where= or beside an image that is overwritten:
what a job works on.
The job removes it; what a killed File Daemon left, the next job there removes.
.TP
.IR /etc/pve/priv/authkey.key ", " /etc/pve/pve\-root\-ca.pem ", " /etc/pve/local/pveproxy\-ssl.pem
On a Proxmox VE host: what a ticket is signed with, and what the API's
certificate is compared with.
.TP
.IR /var/run/qemu\-server/VMID.qmp ", " /var/run/qmeventd.sock
On a Proxmox VE host: the guests' monitors, and who would end their QEMU.
.TP
.I /usr/share/doc/qemu\-fd/examples
Files for the Director to start from, and remove\-bitmaps.py.
"""
_TAIL = r""".SH SEE ALSO
.BR bacula\-fd (8),
.BR bconsole (8),
.BR qemu\-img (1)
.PP
The documents that come with the plugin: proxmox.md; trouble.md;
reference/messages.md, every message with its cause and cure.
"""


def escaped(text):
    """Text as troff reads it."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq")
    text = text.replace("'", "\\(aq").replace("`", "\\(ga").replace("^", "\\(ha").replace("~", "\\(ti")
    return text.replace("…", "...").replace("–", "\\(en")


def inline(text):
    """A line's code, emphasis and links."""
    text = re.sub(r"\[([^\]]*)\]\(#[^)]*\)", r"\1", text)
    text = re.sub(r"\[([^\]]*)\]\(([^)#]+)[^)]*\)", r"\1 (\2)", text)
    text = text.replace("` `", "`, `")
    pieces = re.split(r"(`[^`]*`|\*\*[^*]+\*\*)", text)
    made = ""
    for piece in pieces:
        if piece.startswith(("`", "**")) and len(piece) > 2:
            made += rf"\fB{escaped(piece.strip('`*'))}\fR"
        else:
            made += escaped(piece)
    return made


def _lines(text):
    """No line may begin with a dot, which would be a request, or be empty."""
    return "".join(
        (rf"\&{line}" if line.startswith(".") else line or ".sp") + "\n" for line in text.split("\n")
    )


def _filled(text):
    """Lines that are not too long for one who reads the source."""
    return _lines("\n".join(
        textwrap.fill(line, 78, break_long_words=False, break_on_hyphens=False)
        for line in text.split("\n")
    ))


def _sentences(text):
    """One sentence a line, as troff wants it."""
    return _filled(re.sub(r"(?<=[a-z)\]R0-9][.:]) +(?=[A-Z])", "\n", inline(text)))


def _table(rows):
    """A table as a list: the first column, and behind it the last with the others in words."""
    heads, made = rows[0], ""
    for row in rows[1:]:
        made += f".TP\n{inline(row[0])}\n"
        words = row[-1].rstrip(".") + "."
        made += _sentences(words if "=" in words.split()[0] else words[0].upper() + words[1:])
        facts = [f"{head}: {cell}" for head, cell in zip(heads[1:-1], row[1:-1]) if cell]
        if facts:
            made += ".br\n" + _filled(inline("; ".join(facts) + "."))
    return made + ".PP\n"


def _cells(line):
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _blocks(markdown):
    """(kind, lines): heading, code, table, item, text."""
    markdown = re.sub(r"<!--.*?-->\n?", "", markdown, flags=re.S)
    kind, block = "", []
    for line in [*markdown.splitlines(), ""]:
        now = (
            "heading" if line.startswith("#")
            else "code" if line.startswith("    ") and kind in ("", "code")
            else "table" if line.startswith("|")
            else "item" if line.startswith("- ")
            else "" if not line.strip()
            else kind if kind in ("item", "text") else "text"
        )
        if kind == "code" and not line.strip():
            block.append("")
            continue
        if block and (now != kind or now in ("item", "heading") and line.startswith(("- ", "#"))):
            yield kind, block
            block = []
        kind = now
        if now:
            block.append(line)
    if block:
        yield kind, block


def converted(markdown, top=".SH"):
    """A page without its first heading."""
    made = ""
    for kind, lines in _blocks(markdown):
        if kind == "heading":
            level, words = re.match(r"(#+) (.*)", lines[0]).groups()
            words = inline(words.upper() if top == ".SH" else words)
            made += "" if level == "#" else f"{top} {words}\n"
        elif kind == "code":
            code = "\n".join(line[4:] for line in lines).rstrip("\n")
            made += f".PP\n.in +4n\n.nf\n{_lines(escaped(code))}.fi\n.in\n.PP\n"
        elif kind == "table":
            made += _table([_cells(line) for line in lines if not re.match(r"\|[-| ]+\|$", line)])
        elif kind == "item":
            made += ".IP \\(bu 2\n" + _sentences(" ".join(line.strip("- ") if not index else line.strip()
                                                           for index, line in enumerate(lines)))
        else:
            made += ".PP\n" + _sentences(" ".join(line.strip() for line in lines))
    return made


def _page(name):
    return (DOCS / name).read_text(encoding="utf-8")


def _examples():
    made = ""
    for name in ("genuine-qemu", "proxmox", "schedule"):
        text = "\n".join(f"    {line}".rstrip() for line in _page(f"examples/{name}.conf").splitlines())
        made += f".SS {escaped(name)}\n" + converted(text)
    return made


def _typed(session):
    """Of a recorded session only what was typed, and the questions that it answers."""
    kept = r"    (\*|\$ |.*(yes/mod/no\): |Select parameter to modify \(|Please enter a value))"
    return "".join(line for line in session.splitlines(keepends=True) if re.match(kept, line, re.I))


def _restore():
    """restore.md, without what the console answers."""
    return re.sub(r"<!-- include: .*?-->\n(.*?)<!-- end -->", lambda match: _typed(match[1]),
                  _page("restore.md"), flags=re.S)


def _date():
    """That of the release, as the Debian package says it."""
    newest = re.search(r"^ -- .*>  (.*)$", (TOP / "debian/changelog").read_text(), re.M)
    return email.utils.parsedate_to_datetime(newest[1]).date().isoformat()


def man_page(version):
    """The whole page."""
    page = _HEAD.format(version=escaped(version), date=_date())
    page += ".SH PARAMETERS\n" + converted(_page("parameters.md"))
    page += ".SH RESTORE\n" + converted(_restore(), ".SS")
    page += ".SH EXAMPLES\n" + _examples()
    page += ".SH LIMITS\n" + converted(_page("limits.md"), ".SS")
    page += _FILES + _TAIL
    return _tidy(page)


def _tidy(page):
    """Without paragraphs that a heading or another paragraph makes needless."""
    while True:
        tidier = re.sub(r"^\.PP\n(?=\.(PP|SH|SS|TP|IP|in))", "", page, flags=re.M)
        tidier = re.sub(r"^(\.S[HS] .*\n)\.PP\n", r"\1", tidier, flags=re.M)
        if tidier == page:
            return page
        page = tidier


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.stdout.write(man_page(sys.argv[1]))
