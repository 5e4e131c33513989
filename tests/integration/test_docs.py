"""The documentation says what is: compared with the source, and run where it can be."""

import importlib.util
import re
from pathlib import Path

import pytest
from harness.director_check import director_check
from harness.listing import own_lines
from harness.marks import one_version
from harness.process import Failure, run
from harness.source_messages import messages, not_messages_that_are_gone

_TOP = Path(__file__).resolve().parents[2]
_DOCS = _TOP / "docs"
_EXAMPLES = sorted((_DOCS / "examples").glob("*.conf"))
_PLUGIN_LINE = r'^ *Plugin = "(qemu:.*)"$'


def _tool(name):
    spec = importlib.util.spec_from_file_location(name, _TOP / f"tools/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_include = _tool("include")


def _pages():
    """Text of every page, by its path."""
    return {path: path.read_text() for path in [*_include.pages(), _TOP / "SECURITY.md"]}


def _rows(page):
    """Cells of a page's tables, without their heads."""
    for line in (_DOCS / page).read_text().splitlines():
        if line.startswith("| `"):
            yield [cell.strip() for cell in line.strip("|").split(" | ")]


# Against the source


def test_every_message_has_a_row():
    """docs/reference/messages.md names what the source can say, and nothing else."""
    rows = list(_rows("reference/messages.md"))
    named = [code.removeprefix("; ") for row in rows for code in re.findall(r"`([^`]+)`", row[0])]
    said = messages()
    assert sorted(set(said) - set(named)) == [], "missing in docs/reference/messages.md"
    assert sorted(set(named) - set(said)) == [], "in docs/reference/messages.md, but nobody says it"
    without = [row[0] for row in rows if not all(row[1:3])]
    assert without == [], "without a cause or a cure"
    contexts = [row for row in rows if len(row) < 3]
    assert contexts == rows[-len(contexts):], "a cure is missing"


def test_nothing_is_excused_that_is_not_there():
    """What is named as no message is in the source; the next text of those words is one again."""
    assert not_messages_that_are_gone() == []


def test_recorded_lines_are_messages():
    """Each line of the plugin in the sessions is one that the page has."""
    texts = [re.split("…+", text) for text in messages() if len(re.findall("[A-Za-z]", text)) > 5]
    known = re.compile("|".join(".*?".join(map(re.escape, pieces)) for pieces in texts))
    lines = [line for path in (_DOCS / "sessions").iterdir()
             for line in re.findall(r"JobId \d+: (?:[A-Z][a-z ]+: )?qemu: (.*)", path.read_text())]
    assert len(lines) > 50
    assert [line for line in lines if not known.match(line) and not re.match(r"(guest|disk) \"", line)] == []
    assert [line for line in lines if not known.search(line)] == []


def _known_parameters():
    """{name: flags} of command.c's table; what the Director adds is none of the user's."""
    text = (_TOP / "src/bacula/command.c").read_text()
    table = re.search(r"\} parameters\[\] = \{\n(.*?)\n\};", text, re.S)[1]
    found = dict(re.findall(r'\{"([\w-]+)", \w+, ([\w| ]+)\}', table))
    assert len(found) == table.count("{")
    del found["listing"]
    return {name: set(flags.split(" | ")) - {"0"} for name, flags in found.items()}


def _documented_parameters():
    """{name: (where, values, default, what)} of the one table."""
    return {
        name: (row[1], row[2], row[3], row[4])
        for row in _rows("parameters.md")
        for name in re.findall(r"`([\w-]+)`", row[0])
    }


def test_every_parameter_has_a_row():
    """Names, where they stand, what may be repeated, for which mode, defaults."""
    known, documented = _known_parameters(), _documented_parameters()
    forms = {
        name
        for source in ("qemu", "pve")
        for name in re.findall(r'^    \{"(\w+)", "', (_TOP / f"src/hypervisor/{source}.c").read_text(), re.M)
    }
    assert set(documented) == set(known) | forms
    assert {len(row) for row in _rows("parameters.md")} == {5}
    for name, (where, values, _, what) in documented.items():
        places = [place for place, names in (("Plugin line", known), ("restore form", forms)) if name in names]
        assert where == ("both" if len(places) == 2 else places[0]), name
        flags = known.get(name, set())
        assert ("repeated" in values) == ("REPEATED" in flags), name
        assert ("alone" in values) == ("OPTIONAL_VALUE" in flags), name
        assert what.startswith("mode=PVE") == ("PROXMOX" in flags), name
        assert ("Not with mode=PVE" in what) == ("GENUINE" in flags), name
    header = (_TOP / "src/guest/options.h").read_text()
    assert documented["timeout"][2] == re.search(r"TIMEOUT_DEFAULT = (\d+)", header)[1]
    url = re.search(r'PVE_OWN_URL "(.*)"', (_TOP / "src/pve/destination.h").read_text())[1]
    assert documented["url"][2] == f"`{url}`"


_BELOW = ["base", "image", "guest", "agent", "pve", "qemu", "hypervisor", "job", "bacula"]


def test_arrows_go_one_way():
    """house.md: a room knows only those below it; QEMU and Proxmox know nothing of each other."""
    for path in [*_TOP.glob("src/*/*.[ch]")]:
        room = path.parent.name
        if room == "helper":  # a program of its own, over the rooms that know no daemon
            below = {"helper", "guest", "pve", "qemu", "agent", "image", "base"}
            assert set(re.findall(r'^#include "(\w+)/', path.read_text(), re.M)) <= below
            continue
        if room in ("volume", "open"):  # as well, over those that know neither daemon nor QEMU
            below = {"volume", "guest", "image", "base"} | ({"open"} & {room})
            assert set(re.findall(r'^#include "(\w+)/', path.read_text(), re.M)) <= below
            continue
        allowed = set(_BELOW[: _BELOW.index(room) + 1]) - ({"pve", "agent"} - {room} if room in ("qemu", "pve") else set())
        used = set(re.findall(r'^#include "(\w+)/', path.read_text(), re.M))
        assert used <= allowed, f"{path.relative_to(_TOP)} includes {used - allowed}"


# Pages


def test_pages_hold_what_they_include():
    """Sessions and examples stand in the pages as they are, and each of them somewhere."""
    included = []
    for path in _include.pages():
        text = path.read_text()
        assert _include.updated(text) == text, f"{path.name}: make pages"
        included += _include.included(text)
    made = {f"sessions/{path.name}" for path in (_DOCS / "sessions").iterdir()}
    made |= {f"examples/{path.name}" for path in _EXAMPLES}
    assert made == set(included)


def test_answers_of_a_restore_are_the_recorded_ones():
    """What docs/restore.md lets somebody type behind "OK to run?" is what the session has."""
    asked = r"(?:\(Yes/mod/no\)|\(1-\d+\)|a value for \w+): (\S+)$"
    typed = re.findall(asked, (_DOCS / "sessions/restore-original.txt").read_text(), re.M)
    (said,) = re.findall(r"and then (`mod`.*?)\(run\)", (_DOCS / "restore.md").read_text(), re.S)
    assert re.findall(r"`(\w+)`", said) == typed


def test_pictures_are_drawn():
    """Each SVG is what its text says."""
    sources = list((_DOCS / "pictures").glob("*.picture"))
    assert sources
    for source in sources:
        assert source.with_suffix(".svg").read_text() == _tool("picture").render(source), "make pages"


def _set_of_an_administrator():
    """The pages that README's table names, and README."""
    readme = (_TOP / "README.md").read_text()
    table = re.search(r"^\| page \| for \|\n\|[-|]+\n((?:\|.*\n)+)", readme, re.M)[1]
    named = re.findall(r"^\| \[[^]]+\]\(([^)]+)\)", table, re.M)
    return [_TOP / "README.md", *(_TOP / name for name in named)]


def _words(text):
    """What a reader takes for words, code and numbers too."""
    return [word for word in re.sub(r"<!--.*?-->", "", text).split() if re.search(r"\w", word)]


def test_what_an_administrator_reads_is_short():
    """README's table names every page that is neither looked up nor a developer's: together 5,000 words at most."""
    pages = _set_of_an_administrator()
    assert set(pages) == {_TOP / "README.md", _TOP / "SECURITY.md", *_DOCS.glob("*.md")}
    words = {path.name: len(_words(path.read_text())) for path in pages}
    assert sum(words.values()) <= 5000, f"shorten, or move to docs/reference: {words}"


def _anchors(path):
    heads = re.findall(r"^#+ (.*)$", path.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_links_lead_somewhere():
    """Files and headings that the pages link to are there."""
    for path, text in _pages().items():
        for target in re.findall(r"\]\(([^)]+)\)", text):
            if target.startswith("http"):
                continue
            name, _, anchor = target.partition("#")
            file = path.parent / name if name else path
            assert file.exists(), f"{path.name}: {target}"
            assert not anchor or anchor in _anchors(file), f"{path.name}: {target}"


def test_manual_page(tmp_path):
    """qemu-fd(5) is made without a complaint of mandoc, and has every parameter."""
    page = tmp_path / "qemu-fd.5"
    page.write_text(_tool("manpage").man_page("1.2.3"))
    assert run(["mandoc", "-T", "lint", "-W", "style", page]) == ""
    shown = re.sub(".\b", "", run(["mandoc", "-T", "utf8", page]))
    assert "qemu-fd 1.2.3" in shown
    for name in _documented_parameters():
        assert re.search(rf"^ {{5,7}}.*\b{name}\b", shown, re.M), name
    for plugin_line in _plugin_lines():
        assert f'Plugin = "{plugin_line}"' in shown or plugin_line not in _in_examples()


def test_manual_page_of_the_other_program():
    """qemu-fd-open(8) is written by hand, beside its source; it has every word of the usage."""
    page = _TOP / "src/open/qemu-fd-open.8"
    assert run(["mandoc", "-T", "lint", "-W", "style", page]) == ""
    shown = re.sub(".\b", "", run(["mandoc", "-T", "utf8", page]))
    usage = re.search(r"usage\[\] =(.*?);", (_TOP / "src/open/main.c").read_text(), re.S)[1]
    words = set(re.findall(r"--\w+|qemu-fd-open (\w+)", usage)) - {""}
    assert words and all(word in shown for word in words)


# Examples


def _in_examples():
    return [line for path in _EXAMPLES for line in re.findall(_PLUGIN_LINE, path.read_text(), re.M)]


def _plugin_lines():
    """All Plugin lines of examples and pages."""
    texts = [*(path.read_text() for path in _EXAMPLES), *_pages().values()]
    return sorted({line for text in texts for line in re.findall(_PLUGIN_LINE, text, re.M)})


def _resources(page):
    """The FileSet and the Job among a page's first steps."""
    return re.search(r"^       FileSet \{\n.*?^       Job \{\n.*?^       \}\n", (_TOP / page).read_text(), re.M | re.S)[0]


def test_directors_take_the_examples(bacula_root, workdir):
    """All files together, and the FileSets and Jobs of README's and Proxmox VE's first steps."""
    texts = [path.read_text() for path in _EXAMPLES]
    assert len(texts) == 3
    director_check(bacula_root, workdir, *texts)
    director_check(bacula_root, workdir, _resources("README.md"))
    node = (_TOP / "examples/proxmox.conf").read_text()  # it has the Client
    director_check(bacula_root, workdir, _resources("docs/proxmox.md"), node)
    with pytest.raises(Failure, match="Could not find config"):
        director_check(bacula_root, workdir, texts[0])  # its Schedule is in another file


@one_version
def test_plugin_takes_the_plugin_lines(make_bacula):
    """Every Plugin line that the documentation shows; .ls of / reads it and asks nobody."""
    bacula = make_bacula(filesets={"none": ["/etc/hostname"]})
    lines = _plugin_lines()
    assert len(lines) > 10
    for line in lines:
        assert own_lines(bacula.ls(line, "/")) == [], line
    assert own_lines(bacula.ls(f"{lines[0]} surprise", "/")) != []
