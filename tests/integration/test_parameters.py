"""The Plugin line: every parameter of mode=QEMU with good and bad values.

A bad Plugin line ends its job as failed, with one line that names what is
wrong.  A guest that cannot be reached is an error of that guest: the job goes
on with the next Plugin line, unless abort_on_error says otherwise.
"""

import contextlib
import os
import re
import socket
import tempfile
from pathlib import Path

import pytest
from harness.disk import MIB, Disk, make_image
from harness.history import NOT_STREAMED
from harness.peer import Peer

# For what no Bacula has a part in.
_one_version = pytest.mark.parametrize("bacula_version", ["15.0.3"], indirect=True)

# What stands behind "qemu: " -> what the job log must say of it.  {qmp} is the
# socket of a guest that would do, {dir} the test's folder.
_BAD = {
    # Unknown, missing, twice
    "qmpcontrol={qmp} colour=red": 'unknown parameter "colour"; the parameters are: ',
    "qmpcontrol={qmp} colour": 'unknown parameter "colour"',
    "qmpcontrol={qmp} =1": 'unknown parameter ""',
    "QMPCONTROL={qmp}": 'unknown parameter "QMPCONTROL"',
    "qmpcontrol={qmp} convdestination=yes": 'unknown parameter "convdestination"',
    "": 'parameter "qmpcontrol" is missing; set qmpcontrol= to the guest\'s QMP socket',
    "mode=QEMU timeout=60": 'parameter "qmpcontrol" is missing',
    "qmpcontrol={qmp} qmpcontrol={qmp}": 'parameter "qmpcontrol" is given twice',
    # qmpcontrol
    "qmpcontrol": 'parameter "qmpcontrol" has no value',
    "qmpcontrol=": 'parameter "qmpcontrol" has no value',
    "qmpcontrol=''": 'parameter "qmpcontrol" has no value',
    "qmpcontrol=vm1.qmp": 'parameter "qmpcontrol": "vm1.qmp" is not possible; it takes an absolute',
    "qmpcontrol=tcp:localhost:4444": "it takes the path of a UNIX socket",
    "qmpcontrol={dir}/plain-file": '/plain-file": it is not a socket',
    "qmpcontrol={dir}/%s" % ("x" * 120): "the path of a socket has at most 107 bytes",
    # working
    "qmpcontrol={qmp} working=here": 'parameter "working": "here" is not possible',
    "qmpcontrol={qmp} working={dir}/none": 'the working directory "{dir}/none": No such file',
    "qmpcontrol={qmp} working={dir}/plain-file": '"{dir}/plain-file": Not a directory; make it',
    # mode
    "qmpcontrol={qmp} mode=XEN": 'parameter "mode": "XEN" is not possible; it takes QEMU or PVE',
    "qmpcontrol={qmp} mode=PVE": 'parameter "qmpcontrol" does not go with mode=PVE',
    "mode=PVE": "mode=PVE is for a File Daemon that runs as root on a Proxmox VE host",
    # timeout
    "qmpcontrol={qmp} timeout=soon": 'parameter "timeout": "soon" is not possible; it takes a number',
    "qmpcontrol={qmp} timeout=0": 'parameter "timeout": "0" is not possible',
    "qmpcontrol={qmp} timeout=-1": 'parameter "timeout": "-1" is not possible',
    "qmpcontrol={qmp} timeout=60s": 'parameter "timeout": "60s" is not possible',
    "qmpcontrol={qmp} timeout=4294967297": 'parameter "timeout": "4294967297" is not possible',
    # bwlimit
    "qmpcontrol={qmp} bwlimit=fast": 'parameter "bwlimit": "fast" is not possible; it takes KiB',
    "qmpcontrol={qmp} bwlimit=10M": 'parameter "bwlimit": "10M" is not possible',
    "mode=PVE bwlimit=-1": 'parameter "bwlimit": "-1" is not possible',
    # Switches
    "qmpcontrol={qmp} abort_on_error=2": 'parameter "abort_on_error": "2" is not possible; it takes',
    "qmpcontrol={qmp} abort_on_error=": 'parameter "abort_on_error" has no value',
    "qmpcontrol={qmp} bitmap-persistence=on": 'parameter "bitmap-persistence": "on" is not possible',
    "qmpcontrol={qmp} bitmap_persistence": 'parameter "bitmap_persistence" has no value',
    "qmpcontrol={qmp} transaction=vm": 'parameter "transaction": "vm" is not possible; it takes guest',
    # Quotes
    'qmpcontrol={qmp} working="/tmp': 'parameter "working": the quote " is not closed',
    "qmpcontrol={qmp} working='/tmp\"": "parameter \"working\": the quote ' is not closed",
    "qmpcontrol={qmp} working='/tmp'timeout=60": 'parameter "working": text right behind the quote',
    # Proxmox only
    "qmpcontrol={qmp} vm=VM1": 'parameter "vm" is for mode=PVE only; take it out',
    "qmpcontrol={qmp} vmid=100": 'parameter "vmid" is for mode=PVE only',
    "qmpcontrol={qmp} include=.*": 'parameter "include" is for mode=PVE only',
    "qmpcontrol={qmp} exclude=^Test": 'parameter "exclude" is for mode=PVE only',
    "qmpcontrol={qmp} storage=local": 'parameter "storage" is for mode=PVE only',
}


def _guest(make_guest, workdir, name="VM1", **disk):
    image = make_image(workdir / f"{name}.qcow2", 4 * MIB, seed=1)
    return make_guest(name=name, disks=[Disk("vda", image, **disk)])


def _own_lines(log):
    """What the plugin said: the kind of message and its text."""
    return re.findall(r"^fd JobId \d+: (?:(Fatal error|Error|Warning): )?qemu: (.*)", log, re.M)


def _assert_refused(result, text, what):
    """The job failed, with one line of ours that says why."""
    assert result.status == "f", f"{what}: {result.log}"
    (kind, line), *more = _own_lines(result.log)
    assert kind == "Fatal error" and text in line and not more, f"{what}: {result.log}"


def test_bad_lines_fail_their_job(make_bacula, make_guest, workdir):
    """Never a silent default: asks 46, and each line names the parameter."""
    guest = _guest(make_guest, workdir)
    (workdir / "plain-file").touch()
    known = {"qmp": guest.qmp_socket, "dir": workdir}
    lines = {f"bad-{number}": line for number, line in enumerate(_BAD)}
    filesets = {job: [f"qemu: {line.format(**known)}"] for job, line in lines.items()}
    bacula = make_bacula(filesets={**filesets, "good": [f"qemu: qmpcontrol={guest.qmp_socket}"]})
    # All at once: none of them touches the guest, so none is in another's way.
    for line, jobid in zip(lines.values(), bacula.run_all(lines)):
        _assert_refused(bacula.wait(jobid), _BAD[line].format(**known), line)
        assert bacula.list_files(jobid) == []
    assert guest.bitmaps("vda") == {} and bacula.fd_leftovers() == []
    guest.assert_clean()
    assert bacula.run("good").ok


@_one_version
def test_both_spellings_of_one_parameter_are_twice(make_bacula, make_guest, workdir):
    """One says 0 and one says 1: nobody could say which was meant."""
    guest = _guest(make_guest, workdir)
    line = f"qemu: qmpcontrol={guest.qmp_socket} bitmap-persistence=0 bitmap_persistence=1"
    result = make_bacula(filesets={"VM": [line]}).run("VM")
    _assert_refused(result, 'parameter "bitmap_persistence" is given twice', line)


@_one_version
def test_listing_is_no_parameter_of_a_backup(make_bacula, make_guest, workdir):
    """The Director adds listing= to a `.ls`; in a FileSet it is unknown."""
    guest = _guest(make_guest, workdir)
    line = f"qemu: qmpcontrol={guest.qmp_socket} listing=/vm"
    result = make_bacula(filesets={"VM": [line]}).run("VM")
    _assert_refused(result, 'unknown parameter "listing"', line)


# Good Plugin lines, and what each must lead to: whether bitmaps persist, and
# how many transactions two disks take.
_GOOD = [
    ("qmpcontrol={qmp}", False, 1),
    (
        "mode=QEMU qmpcontrol={qmp} abort_on_error=0 timeout=3600 bitmap-persistence=0"
        " transaction=guest working={dir}/plain",
        False,
        1,
    ),
    (
        "mode=\"qemu\"  qmpcontrol=\"{qmp}\"\tabort_on_error='1' timeout='60'"
        " bitmap_persistence=\"yes\" transaction='disk' working=\"{dir}/it's with blanks\"",
        True,
        2,
    ),
    (
        "abort_on_error qmpcontrol='{link}' bitmap-persistence=TRUE timeout=2147483647"
        " transaction=Disk working='{dir}/say \"ä\" = b'",
        True,
        2,
    ),
]


@contextlib.contextmanager
def _link_with_blanks(path):
    """Another, awkward name of a socket."""
    with tempfile.TemporaryDirectory(prefix="a link ") as folder:
        link = Path(folder) / 'to "it"'
        link.symlink_to(path)
        yield link


def _working_of(line):
    match = re.search(r"working=(?:\"([^\"]*)\"|'([^']*)'|(\S+))", line)
    return match and Path(next(group for group in match.groups() if group))


def test_good_values_do_what_they_say(make_bacula, make_guest, workdir):
    """Values with and without quotes, blanks, both quotes and UTF-8."""
    disks = [Disk(name, make_image(workdir / f"{name}.qcow2", MIB)) for name in ("vda", "vdb")]
    guest = make_guest(name="VM1", disks=disks)
    with _link_with_blanks(guest.qmp_socket) as link:
        known = {"qmp": guest.qmp_socket, "link": link, "dir": workdir}
        lines = [line.format(**known) for line, *_ in _GOOD]
        filesets = {f"good-{number}": [f"qemu: {line}"] for number, line in enumerate(lines)}
        bacula = make_bacula(filesets=filesets, fd_debug=800)
        transactions = 0
        for (_, persistent, expected), line, job in zip(_GOOD, lines, filesets):
            working = _working_of(line) or bacula.fd_working
            working.mkdir(exist_ok=True)
            os.utime(working, (0, 0))
            result = bacula.run(job)
            assert result.ok, f"{line}: {result.log}"
            assert working.stat().st_mtime > 0, f"{line}: {working} was not used"
            assert [path for path in working.iterdir() if path.suffix != ".state"] == []
            own = [b for name, b in guest.bitmaps("vda").items() if result.name in name]
            assert {bitmap["persistent"] for bitmap in own} == {persistent}, line
            made = bacula.fd_log().count('QMP > {"execute":"transaction"') - transactions
            assert made == expected, line
            transactions += made
    guest.assert_clean()


@_one_version
def test_timeout_ends_a_dump_that_takes_longer(make_bacula, make_guest, workdir):
    """It fails the job even with abort_on_error=0, as the manual says."""
    image = make_image(workdir / "slow.qcow2", 6 * MIB, density=1)
    guest = make_guest(name="VM1", disks=[Disk("vda", image, style="slow")])
    filesets = {
        "short": [f"qemu: qmpcontrol={guest.qmp_socket} timeout=1"],
        "long": [f"qemu: qmpcontrol={guest.qmp_socket} timeout=60"],
    }
    bacula = make_bacula(filesets=filesets)
    guest.slow_down("vda", 2 * MIB)
    result = bacula.run("short")
    assert result.status == "f", result.log
    assert _own_lines(result.log) == [
        ("", "Start Backup vm: VM1 (0)"),
        ("", f"VM1 {NOT_STREAMED}"),
        (
            "Fatal error",
            'guest "VM1", disk "vda": the dump did not end within 1 seconds; set timeout= higher',
        ),
    ]
    assert guest.bitmaps("vda") == {} and bacula.fd_leftovers() == []
    guest.assert_clean()
    guest.slow_down("vda")
    assert bacula.run("long").ok


# Job -> what is wrong with its socket, as the job log says it.
_UNREACHABLE = {
    "missing": "cannot connect: No such file or directory; check that the guest runs",
    "deaf": "cannot connect: Connection refused; check that the guest runs",
    "ssh": 'no QMP message: "SSH-2.0-OpenSSH_9.2',
    "json": "it sends no QMP greeting; check that the path is a QMP socket",
    "brief": "QEMU closed the connection; see whether the guest was shut down or crashed",
    "flood": "a message of more than ",
}


@pytest.fixture
def sockets():
    """A folder of sockets, none of which leads to a guest."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="peers-")))
        deaf = stack.enter_context(socket.socket(socket.AF_UNIX))
        deaf.bind(str(folder / "deaf"))
        for peer in (
            Peer(folder / "ssh", b"SSH-2.0-OpenSSH_9.2\r\n"),
            Peer(folder / "json", b'{"return": {}}\r\n'),
            Peer(folder / "brief", b"", hangs_up=True),
            Peer(folder / "flood", b"x" * (72 * MIB)),
        ):
            stack.enter_context(peer)
        yield folder


def test_unreachable_guest_does_not_stop_the_next(make_bacula, make_guest, sockets, workdir):
    """asks 18 and 46: an error that names the socket, and the job goes on."""
    guest = _guest(make_guest, workdir)
    filesets = {
        job: [f"qemu: qmpcontrol={sockets}/{job}", f"qemu: qmpcontrol={guest.qmp_socket}"]
        for job in _UNREACHABLE
    }
    bacula = make_bacula(filesets=filesets)
    for job, text in _UNREACHABLE.items():
        result = bacula.run(job)
        assert result.status == "T" and result.errors == 1, result.log
        assert "Backup OK -- with warnings" in result.log
        kind, line = _own_lines(result.log)[0]
        assert kind == "Error" and f'QMP socket "{sockets}/{job}": {text}' in line, line
        saved = {file.path for file in bacula.list_files(result.jobid)}
        assert saved == {"/@qemu/VM1/0/config.json", "/@qemu/VM1/0/vda.qcow2"}
        assert any(result.name in name for name in guest.bitmaps("vda"))
    guest.assert_clean()
    assert bacula.fd_leftovers() == []


def test_abort_on_error_stops_the_job(make_bacula, make_guest, sockets, workdir):
    """The next Plugin line is not begun, and the one before leaves no bitmap."""
    guest = _guest(make_guest, workdir)
    good = f"qemu: qmpcontrol={guest.qmp_socket}"
    bad = f"qemu: qmpcontrol={sockets}/deaf abort_on_error=1"
    bacula = make_bacula(filesets={"before": [bad, good], "behind": [good, bad]})

    before = bacula.run("before")
    _assert_refused(before, f'QMP socket "{sockets}/deaf": cannot connect', "before")
    behind = bacula.run("behind")
    assert behind.status == "f"
    assert [kind for kind, _ in _own_lines(behind.log)] == ["", "", "", "", "Fatal error"]
    assert guest.bitmaps("vda") == {} and bacula.fd_leftovers() == []
    guest.assert_clean()


def test_bad_line_fails_the_whole_job(make_bacula, make_guest, workdir):
    """A guest that was saved already is of no use: the Director counts the job as failed."""
    guest = _guest(make_guest, workdir)
    good = f"qemu: qmpcontrol={guest.qmp_socket}"
    bacula = make_bacula(filesets={"VM": [good, f"{good} colour=red"], "good": [good]})
    result = bacula.run("VM")
    assert result.status == "f"
    assert _own_lines(result.log)[-1][1].startswith('Plugin line: unknown parameter "colour"')
    assert guest.bitmaps("vda") == {} and bacula.fd_leftovers() == []
    guest.assert_clean()
    assert bacula.run("good").ok
