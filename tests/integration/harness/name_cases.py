"""Names that lead elsewhere, and what becomes of them: the tables of docs/internals/names.md.

test_names.py runs every row.  To write the document anew:

    cd tests/integration && /usr/bin/python3 -m harness.name_cases
"""

import re
from pathlib import Path

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "internals" / "names.md"

_LONG = "x" * 255
_WIDE = "ü" * 200  # 400 bytes of UTF-8

# What a guest or a drive is called, and the one component of a path that it becomes.
# Whether a QEMU 7.2 takes it from its command line: as -name, and as the id of a -device
# given as JSON (other ids are letters, digits, "-", "." and "_" only).
NAMES = [
    ("VM1", "VM1"),
    ("ide0-hd0", "ide0-hd0"),
    ("web server", "web server"),
    (" blanks around ", " blanks around "),
    ("a.b", "a.b"),
    ("a..", "a.."),
    ("config.json", "config.json"),
    ("vda.qcow2", "vda.qcow2"),
    ("it's", "it's"),
    ('say "hi"', 'say "hi"'),
    ("back\\slash", "back\\slash"),
    ("$HOME `id` $(id)", "$HOME `id` $(id)"),
    ("a;b|c&d>e<f*?[g]", "a;b|c&d>e<f*?[g]"),
    ("a,b=c:d@e", "a,b=c:d@e"),
    ("-rf", "-rf"),
    ("--help", "--help"),
    ("~root", "~root"),
    ("#block123", "#block123"),
    ("json:{}", "json:{}"),
    ("nbd:localhost:1", "nbd:localhost:1"),
    ("Büro", "Büro"),
    ("仮想", "仮想"),
    ("🐧", "🐧"),
    ("NUL", "NUL"),
    ("*None*", "*None*"),
    ("", "%"),
    (".", "%2E"),
    ("..", "%2E."),
    ("...", "%2E.."),
    (".hidden", "%2Ehidden"),
    ("/", "%2F"),
    ("//", "%2F%2F"),
    ("/etc/passwd", "%2Fetc%2Fpasswd"),
    ("../../etc/passwd", "%2E.%2F..%2Fetc%2Fpasswd"),
    ("a/../b", "a%2F..%2Fb"),
    ("a/", "a%2F"),
    ("ssh://host/x", "ssh:%2F%2Fhost%2Fx"),
    ("%", "%25"),
    ("%2F", "%252F"),
    ("100%", "100%25"),
    ("%s%n", "%25s%25n"),
    ("a\nb", "a%0Ab"),
    ("a\r\nb", "a%0D%0Ab"),
    ("\t", "%09"),
    ("\x7f", "%7F"),
    ("\x1b[2J", "%1B[2J"),
    (_LONG[:240], _LONG[:240]),
    (_LONG, _LONG[:231] + "~6318963f"),
    (_WIDE, "ü" * 115 + "~34363e05"),
    ("/" * 255, "%2F" * 77 + "~fc005968"),
]

# What stands in a volume or in the catalog as a file's name, and where it is restored to below
# where=; None: refused.
SAVED = [
    ("/@qemu/VM1/0/vda.qcow2", "@qemu/VM1/0/vda.qcow2"),
    ("/@qemu/VM1/7/vda.qcow2", "@qemu/VM1/7/vda.qcow2"),
    ("/@qemu/%2E./0/%2Fetc%2Fpasswd.qcow2", "@qemu/%2E./0/%2Fetc%2Fpasswd.qcow2"),
    ("/@qemu/VM1/0/-rf.qcow2", "@qemu/VM1/0/-rf.qcow2"),
    ("/@qemu/VM1/0/nbd:host:1.qcow2", "@qemu/VM1/0/nbd:host:1.qcow2"),
    ("/@qemu/VM1/0/json:{}.qcow2", "@qemu/VM1/0/json:{}.qcow2"),
    ("/@qemu/VM1/0/...qcow2", "@qemu/VM1/0/...qcow2"),
    ("/@qemu/VM1/0/config.json.qcow2", "@qemu/VM1/0/config.json.qcow2"),
    ("/@qemu/VM1/0/" + "v" * 249 + ".qcow2", "@qemu/VM1/0/" + "v" * 249 + ".qcow2"),
    ("/@qemu/VM1/0/" + "v" * 250 + ".qcow2", None),
    ("/@qemu/" + "v" * 256 + "/0/vda.qcow2", None),
    ("/@qemu/../0/vda.qcow2", None),
    ("/@qemu/./0/vda.qcow2", None),
    ("/@qemu/../../outside/0/vda.qcow2", None),
    ("/@qemu/VM1/0/../../../../outside/vda.qcow2", None),
    ("/@qemu/VM1/../vda.qcow2", None),
    ("/@qemu/VM1/0/..", None),
    ("/@qemu/VM1/0/.", None),
    ("/@qemu/VM1/0/.qcow2", None),
    ("/@qemu/VM1/0/", None),
    ("/@qemu/VM1//vda.qcow2", None),
    ("/@qemu//0/vda.qcow2", None),
    ("/@qemu///vda.qcow2", None),
    ("/@qemu/VM1/-1/vda.qcow2", None),
    ("/@qemu/VM1/+1/vda.qcow2", None),
    ("/@qemu/VM1/0x7/vda.qcow2", None),
    ("/@qemu/VM1/4294967296/vda.qcow2", None),
    ("/@qemu/VM1/99999999999999999999999/vda.qcow2", None),
    ("/@qemu/VM1/0/vda.raw", None),
    ("/@qemu/VM1/0/vda.qcow2/x.qcow2", None),
    ("/@qemu/VM1/0/v\nda.qcow2", None),
    ("/@qemu/VM\x1b[2J/0/vda.qcow2", None),
    ("/@qemu", None),
    ("/@qemu/", None),
    ("/@QEMU/VM1/0/vda.qcow2", None),
    ("/x/@qemu/VM1/0/vda.qcow2", None),
    ("/@qemu/VM1/0/vda", None),
    ("/etc/passwd", None),
    ("/", None),
]

# The file that config.json says a disk was, to which convdestination=yes writes it.  {outside} is
# a folder beside the destination.  The outcome is a part of what is said, or "written".
_NO_FILE = "the backup does not say which file it was"
TARGETS = [
    ("{outside}/new", "written"),
    ("{outside}/../outside/new", "written"),
    ("{outside}//new", "written"),
    ("{outside}/a,b=c:d", "written"),
    ("{outside}/100%", "written"),
    ("{outside}/-rf", "written"),
    ("{outside}/line\nfeed", "written"),
    ("{outside}/json:{{}}", "written"),
    ('{outside}/quote"\'', "written"),
    ("{outside}/Büro", "written"),
    ("{outside}", "is neither a file nor a block device"),
    ("{outside}/none/disk", 'the directory "{outside}/none" is missing'),
    ("{outside}/canary/disk", "Not a directory"),
    ("{outside}/loop", "Too many levels of symbolic links"),
    ("{outside}/" + "x" * 300, "File name too long"),
    ("{outside}/fifo", "is neither a file nor a block device"),
    ("/dev/null", "is neither a file nor a block device"),
    ("/proc/self/mem", "/proc/"),
    ("", _NO_FILE),
    (".", _NO_FILE),
    ("outside/canary", _NO_FILE),
    ("../outside/canary", _NO_FILE),
    ("-rf", _NO_FILE),
    ("~root/disk", _NO_FILE),
    ("file:{outside}/canary", _NO_FILE),
    ("fat:rw:{outside}", _NO_FILE),
    ("nbd:127.0.0.1:9", _NO_FILE),
    ("nbd://127.0.0.1:9/x", _NO_FILE),
    ("nbd+unix:///x?socket={outside}/canary", _NO_FILE),
    ("ssh://127.0.0.1/x", _NO_FILE),
    ("https://127.0.0.1:9/x", _NO_FILE),
    ("iscsi://127.0.0.1/x/0", _NO_FILE),
    ("rbd:pool/image", _NO_FILE),
    ("blkverify:{outside}/canary:{outside}/canary", _NO_FILE),
    ("blkdebug::{outside}/canary", _NO_FILE),
    ("/dev/fdset/1", 'the directory "/dev/fdset" is missing'),
    ('json:{{"driver":"file","filename":"{outside}/canary"}}', _NO_FILE),
    ('json:{{"driver":"null-co"}}', _NO_FILE),
]

# The format that config.json says such a file has.
FORMATS = [
    ("qcow2", "written"),
    ("raw", "written"),
    ("vmdk", "written"),
    ("vdi", "written"),
    ("", "no image is written in"),
    ("RAW", "no image is written in"),
    ("--help", "no image is written in"),
    ("raw,size=1", "no image is written in"),
    ("luks", "no image is written in"),
    ("file", "no image is written in"),
    ("host_device", "no image is written in"),
    ("nbd", "no image is written in"),
    ("ssh", "no image is written in"),
    ("blkdebug", "no image is written in"),
    ("blkverify", "no image is written in"),
    ("quorum", "no image is written in"),
    ("vvfat", "no image is written in"),
    ("x" * 5000, "no image is written in"),
]

# A where= that qemu-img could take for something else, below a folder of the test.
PLACES = [
    "restored",
    "a b",
    "a,b=c",
    "a:b",
    "json:{}",
    "nbd:x",
    "file:x",
    "100%",
    "-rf",
    "quote\"'",
    "$HOME",
    "*",
    "Büro",
    "x" * 255,
    "/".join(["x" * 250] * 6),
]


def _counted(run):
    return f"{run[1]}…({len(run[0]) // len(run[1])} times)"


def _shown(text):
    """Fit for a cell of a table: what is repeated is counted."""
    text = re.sub(r"(.{1,3}?)\1{19,}", _counted, text)
    text = text.encode("unicode_escape").decode() if not text.isprintable() else text
    text = text.replace("|", "\\|") or "(empty)"
    if "`" in text:
        return f"`` {text} ``"
    return f"` {text} `" if text != text.strip() else f"`{text}`"


def _outcome(said):
    return said if said == "written" else f"refused: {said}"


def _table(heads, rows):
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def count():
    """How many cases there are."""
    return sum(map(len, (NAMES, SAVED, TARGETS, FORMATS, PLACES)))


def render():
    """The document."""
    lines = [
        "# Names that lead elsewhere",
        "",
        "Names of guests and drives come from QEMU, those of saved files, of images and of formats",
        "from volumes and the catalog: anybody may have written them. What becomes of each is in",
        f"these {count()} cases. Every one is run by tests/integration/test_names.py, and this",
        "file is made of the same tables (tests/integration/harness/name_cases.py); a test fails",
        "when the two differ.",
        "",
        "## Of a guest or a drive",
        "",
        "The name becomes one component of `/@qemu/<vm-name>/<vmid>/<drive-name>.qcow2`. `/`, `%`,",
        "control characters and a `.` at the beginning become %XX, the empty name is `%`, and more",
        "than 240 bytes are cut and end in a hash of the whole. QEMU 7.2 takes any of them as -name",
        "(but the empty one) and, but for the empty one, as the id of a -device that is given as",
        "JSON; ids in other options and node names are letters, digits, `-`, `.` and `_`, and node",
        "names at most 31.",
        "",
        *_table(("name", "component"), [(_shown(name), _shown(path)) for name, path in NAMES]),
        "",
        "## Of a saved file, as it comes back in a restore",
        "",
        *_table(
            ("file", "restored as, below where="),
            [(_shown(name), _shown(path) if path else "refused") for name, path in SAVED],
        ),
        "",
        "## Of the file that config.json says a disk was",
        "",
        "With `where=/` and `convdestination: yes`. Only an absolute path is a file; nothing that",
        "QEMU would take for a protocol or for JSON is. Where the catalog knows the guest as well,",
        "it must say the same.",
        "",
        *_table(
            ("file", "outcome"),
            [
                (_shown(file.replace("{{", "{").replace("}}", "}")), _outcome(said))
                for file, said in TARGETS
            ],
        ),
        "",
        "## Of that file's format",
        "",
        *_table(("format", "outcome"), [(_shown(name), _outcome(said)) for name, said in FORMATS]),
        "",
        "## Of the folder that where= names",
        "",
        "Whole chains are restored below each.",
        "",
        *_table(("where=/some/path/…",), [(_shown(place),) for place in PLACES]),
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    DOCUMENT.write_text(render())
    print(f"{DOCUMENT}: {count()} cases")
