"""Which guests of a Proxmox host a Plugin line means: vm=, vmid=, include=, exclude=.

`.ls` asks the API alone, so it is quick enough for a table of all rules.  That
jobs and estimates choose in the same way, and what they make of guests that
they cannot have, is shown with real ones.
"""

import re

import pytest
from harness import listing, restored
from harness.configuration import quoted
from harness.disk import MIB, assert_same
from harness.pve_guest import Volume
from harness.pve_jobs import assert_nothing_left, one_version

_RUNNING = {
    100: "web",
    101: "db",
    102: "Prod-web",
    103: "prod-DB",
    104: "Test-1",
    105: "contest",
    106: "twin",
    107: "twin",
}
_ALL = set(_RUNNING)

_OFF = {110: "sleeper", 111: "mould"}

# Beside those a stopped one (110), a template (111) and one of another node
# (112), which no pattern may choose with off=never.
_RULES = {
    # Nothing given: all.  The manual's examples.
    "": _ALL,
    "vm=web": {100},
    "vmid=101": {101},
    "include=Prod": {102, 103},
    "include=.* exclude=^Test": _ALL - {104},
    # By name: that very name, all who have it.
    "vm=web vm=db": {100, 101},
    "vm=twin": {106, 107},
    'vm="Test-1"': {104},
    # By number.
    "vmid=101 vmid=104": {101, 104},
    "vmid=0104": {104},
    # By pattern: anywhere in the name, whatever the case, PCRE2.
    "include=WEB": {100, 102},
    "include=^prod": {102, 103},
    r"include=\d$": {104},
    "include='^(web|db)$'": {100, 101},
    "include=^(?!.*test)": _ALL - {104, 105},
    "include=^db$ include=^TWIN$": {101, 106, 107},
    "include=Prod exclude=db": {102},
    "include=web include=db exclude=^prod exclude=^db$": {100},
    "include=. exclude=.": set(),
    # exclude alone: all but those.
    "exclude=^test": _ALL - {104},
    "exclude=test exclude=PROD exclude=twin": {100, 101},
    # exclude touches nobody who was asked for by name or number.
    "vm=web exclude=web": {100},
    "vmid=100 exclude=.": {100},
    "include=prod exclude=prod vm=Prod-web": {102},
    "vmid=101 exclude=^nobody": {101},
    # All together: everyone who is meant by one of them, once.
    "vm=web vmid=100": {100},
    "vm=web vmid=101 include=^prod": {100, 101, 102, 103},
    "vm=web include=web": {100, 102},
    "vm=db include=prod exclude=db": {101, 102},
    # A pattern that nobody matches is no error, and chooses nobody else.
    "include=nobody": set(),
    "include=nobody vm=web": {100},
    "include=nobody include=^db$": {101},
    "include=sleeper": set(),
    "include=mould": set(),
    "include=elsewhere": set(),
}


# Without off=never those that are off as well.
_WITH_OFF = {
    "": _ALL | set(_OFF),
    "off=always include=sleeper": {110},
    "off=auto include=^mo": {111},
    "vm=sleeper": {110},
    "exclude=^test exclude=mould": _ALL - {104} | {110},
    "include=elsewhere": set(),
}


def _only_listed(host, vmid, name, **options):
    """A guest without QEMU: the API alone knows it."""
    config = {"name": name} | options.pop("config", {})
    host.control("add_guest", vmid=vmid, config=config, **options)


def _add_unfit(host):
    """A stopped guest, a template, and one of another node."""
    _only_listed(host, 110, "sleeper")
    _only_listed(host, 111, "mould", config={"template": "1"})
    _only_listed(host, 112, "far", node="elsewhere", running=True)


def _line(rule):
    return f"qemu: mode=PVE off=never {rule}"


def _listed(bacula, rules, line=_line):
    """Rule -> VMIDs that .ls shows, each once and with its name."""
    commands = [f".ls client=fd plugin={quoted(line(rule))} path=/vmid" for rule in rules]
    output = bacula.console("\n".join(commands))
    outputs = re.findall(r"^Connecting to Client.*?^2000 OK estimate.*?$", output, re.M | re.S)
    found = {}
    for rule, output in zip(rules, outputs, strict=True):
        assert listing.own_lines(output) == [], rule
        pairs = [entry[-1].split(" -> ") for entry in listing.entries(output)]
        assert all(name == (_RUNNING | _OFF)[int(vmid)] for vmid, name in pairs)
        found[rule] = {int(vmid) for vmid, _ in pairs}
        assert listing.total(output)[0] == len(pairs) == len(found[rule])
    return found


def test_rules(make_proxmox, make_bacula):
    """The manual's 5.2 as a table."""
    pve = make_proxmox("7.2")
    for vmid, name in _RUNNING.items():
        _only_listed(pve, vmid, name, running=True)
    _add_unfit(pve)
    bacula = make_bacula(filesets={"VM": [_line("")]}, fd_wrapper=pve.fd_wrapper)
    assert _listed(bacula, _RULES) == _RULES
    assert _listed(bacula, _WITH_OFF, lambda rule: f"qemu: mode=PVE {rule}") == _WITH_OFF


# What of a Plugin line -> (the guest's name in the error, what is wrong with it).
_ABSENT = (
    "there is no guest with that {} on node pve7; check {}= on the Plugin line; a guest of another"
    " node is backed up by the File Daemon there"
)
_NOT_RUNNING = "with off=never only running guests are backed up"
_IMPOSSIBLE = {
    "vm=nobody": ("nobody", _ABSENT.format("name", "vm")),
    "vm=WEB": ("WEB", _ABSENT.format("name", "vm")),
    "vmid=999": ("999", _ABSENT.format("VMID", "vmid")),
    "vm=far": ("far", _ABSENT.format("name", "vm")),
    "vmid=112": ("112", _ABSENT.format("VMID", "vmid")),
    "vm=sleeper": ("sleeper (110)", f"it is stopped; {_NOT_RUNNING}"),
    "vmid=111": ("mould (111)", f"it is a template; {_NOT_RUNNING}"),
}


@pytest.fixture
def pve(make_proxmox):
    """A few real guests, two of one name, and three that cannot be had."""
    host = make_proxmox("7.2")
    for vmid in (100, 101, 106, 107):
        host.guest(vmid, _RUNNING[vmid], disks={"scsi0": Volume(size=MIB, seed=vmid)})
    _add_unfit(host)
    return host


def _files(*guests):
    return sorted(
        f"/@qemu/{guest}/{file}"
        for guest in guests
        for file in ("config.json", "drive-scsi0.qcow2")
    )


def _saved(bacula, result):
    paths = [file.path for file in bacula.list_files(result.jobid) if file.file_index > 0]
    return sorted(path for path in paths if path.startswith("/@qemu/"))


def _complaints(text):
    """What the plugin says to be wrong: [(guest, with its number where it has one, why)]."""
    found = re.findall(r'qemu: guest "([^"]*)"( \(\d+\))?: (.*)', text)
    return sorted((name + number, why) for name, number, why in found)


def test_guests_that_cannot_be_had(pve, make_bacula, workdir):
    """One error each that says which of the three; all others are backed up.

    Two guests of one name are both meant, and their files stay apart.
    """
    line = _line(f"vm=web {' '.join(_IMPOSSIBLE)} include=^db exclude=twin vm=twin")
    bacula = make_bacula(filesets={"VM": [line]}, fd_wrapper=pve.fd_wrapper)
    wanted = _files("db/101", "twin/106", "twin/107", "web/100")
    output = bacula.estimate("VM", listing=True)
    assert sorted(entry[-1] for entry in listing.entries(output)) == wanted
    assert _complaints(output) == sorted(_IMPOSSIBLE.values())

    result = bacula.run("VM")
    assert _saved(bacula, result) == wanted
    assert _complaints(result.log) == sorted(_IMPOSSIBLE.values())
    assert len(re.findall(" Error: qemu: ", result.log)) == result.errors == len(_IMPOSSIBLE)
    assert result.status == "T" and "Backup OK -- with warnings" in result.log
    assert_nothing_left(pve, bacula)

    assert bacula.restore(result.jobid, workdir / "restored").ok
    for vmid in (106, 107):
        image = restored.image(workdir / "restored", "drive-scsi0", "twin", vmid)
        assert_same(pve.guests[vmid].shadow("drive-scsi0"), image)


@one_version
def test_abort_on_error(pve, make_bacula):
    """The first guest that cannot be had ends the job, and is its only error.

    A pattern that nobody matches ends nothing, and is said.
    """
    asked = ("vm=nobody", "vm=sleeper", "vmid=111")
    lines = {each: _line(f"{each} vm=WEB abort_on_error=1") for each in asked}
    lines["include"] = _line("include=nobody abort_on_error=1")
    bacula = make_bacula(
        filesets={f"job-{number}": [line] for number, line in enumerate(lines.values())},
        fd_wrapper=pve.fd_wrapper,
    )
    for number, each in enumerate(asked):
        result = bacula.run(f"job-{number}")
        assert result.status == "f", result.log
        assert _complaints(result.log) == [_IMPOSSIBLE[each]]
        assert "Fatal error: qemu: guest" in result.log
        assert _saved(bacula, result) == []
    result = bacula.run(f"job-{len(asked)}")
    assert result.status == "T" and _saved(bacula, result) == [], result.log
    nobody = f"Not backed up: this Plugin line means no guest that node {pve.node} has"
    assert result.log.count(f"Warning: qemu: {nobody}\n") == 1, result.log
    assert_nothing_left(pve, bacula)


# What of a Plugin line -> what the warning counts.
_PASSED_OVER = {
    "": "1 guest that is off, 1 template",
    "exclude=sleeper": "0 guests that are off, 1 template",
    "include=^(db|mould)": "0 guests that are off, 1 template",
    "include=e include=^db": "1 guest that is off, 0 templates",
    "include=^db": None,
    "vm=web": None,
    "exclude=. vm=web": None,
}


@one_version
def test_guests_that_are_off_are_counted(pve, make_bacula):
    """"All guests" never quietly means those that run: one warning a job says how many do not."""
    bacula = make_bacula(
        filesets={f"job-{number}": [_line(rule)] for number, rule in enumerate(_PASSED_OVER)},
        fd_wrapper=pve.fd_wrapper,
    )
    for number, (rule, counted) in enumerate(_PASSED_OVER.items()):
        result = bacula.run(f"job-{number}")
        said = re.findall(r"Warning: qemu: Not backed up, by off=never: (.*) \(exclude=", result.log)
        assert said == ([counted] if counted else []), (rule, result.log)
        assert result.status == "T", result.log


@one_version
def test_bad_patterns(make_proxmox, make_bacula):
    """One that is none is said before anything is asked; one without end ends."""
    pve = make_proxmox("9.1")
    _only_listed(pve, 100, f"{'a' * 60}b", running=True)
    lines = {
        "include=[a-": 'Plugin line: parameter "include": "[a-" is no regular expression: missing'
        " terminating ] for character class at byte 3",
        "exclude=(b": 'Plugin line: parameter "exclude": "(b" is no regular expression: missing'
        " closing parenthesis at byte 2",
        "include=^(a+)+$": 'the regular expression "^(a+)+$" takes too long on'
        f' "{"a" * 60}b"; write it more simply',
    }
    bacula = make_bacula(
        filesets={f"job-{number}": [_line(rule)] for number, rule in enumerate(lines)},
        fd_wrapper=pve.fd_wrapper,
    )
    for number, (rule, text) in enumerate(lines.items()):
        assert listing.own_lines(bacula.ls(_line(rule), "/vm")) == [text]
        assert listing.own_lines(bacula.estimate(f"job-{number}")) == [text]
        if "+" not in rule:
            assert pve.requests() == []
        result = bacula.run(f"job-{number}")
        assert result.status == "f" and f"Fatal error: qemu: {text}\n" in result.log, result.log


@one_version
def test_asked_for_twice(make_proxmox, make_bacula):
    """A guest that is not there is one error, however often it is asked for."""
    pve = make_proxmox("9.1")
    line = _line("vm=nobody vmid=99 vm=nobody vmid=099")
    bacula = make_bacula(filesets={"VM": [line]}, fd_wrapper=pve.fd_wrapper)
    assert len(listing.own_lines(bacula.estimate("VM"))) == 2
