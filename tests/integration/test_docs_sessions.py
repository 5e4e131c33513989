"""The sessions that the documentation shows are what bconsole says."""

import re
import subprocess
import time

import pytest
from harness import restore_dialogue
from harness.disk import MIB, Disk, assert_same, make_image
from harness.history import await_next_second
from harness.session_book import SESSIONS, SessionBook, User

_LINE = 'client=fd plugin="qemu: qmpcontrol=/run/vm1.qmp"'
_RUN = "run job=VM1 level={} yes"
_END = ("wait", "messages")
_NEWEST = "restore fileset=VM1 where={} select current all done"
_RESTORED = "/srv/restored"
_IMAGE = f"{_RESTORED}/@qemu/VM1/0/ide0-hd0.qcow2"
_QMP_SHOWN = r'QMP > (\{"execute":"(?:add-fd|blockdev-add|transaction|job-dismiss|blockdev-del)".*)'


@pytest.fixture
def images(workdir):
    """The guest's two image files, by the names of its drives."""
    made = {"ide0-hd0": workdir / "vm1-system.qcow2", "ide0-hd1": workdir / "vm1-data.raw"}
    make_image(made["ide0-hd0"], 8 * MIB, seed=1)
    make_image(made["ide0-hd1"], 4 * MIB, "raw", seed=2)
    return made


@pytest.fixture
def guest(make_guest, images):
    """The guest VM1 of the documentation."""
    return make_guest(name="VM1", disks=[
        Disk(name, path, path.suffix.removeprefix("."), "ide") for name, path in images.items()
    ])


@pytest.fixture
def user(make_bacula, guest, workdir):
    """Somebody at a bconsole who has the job VM1."""
    bacula = make_bacula(
        filesets={"VM1": [f"qemu: qmpcontrol={guest.qmp_socket}"]},
        extra_message_lines=["console = all, !skipped, !saved"],
    )
    book = SessionBook({
        guest.qmp_socket: "/run/vm1.qmp",
        workdir / "restored": _RESTORED,
        bacula.fd_working: "/var/lib/bacula",
        bacula.folder / "dir": "/var/lib/bacula",
        workdir: "/images",
        f"127.0.0.1:{bacula.ports['fd']}": "127.0.0.1:9102",
    })
    return User(bacula, book)


@pytest.mark.parametrize("bacula_version", ["15.0.3"], indirect=True)
def test_sessions_of_a_genuine_guest(user, guest, images, workdir):
    """Backups, listings and restores; the restored disks are what the guest had."""
    _questions(user)
    moment = _backups(user, guest)
    held = {disk: guest.snapshot(disk) for disk in images}
    _restores_elsewhere(user, workdir / "restored", held, moment)
    _restores_to_original_files(user, guest, images, held)
    guest.start()
    said = user.type("restarted", _RUN.format("Incremental"), *_END)
    assert "Full instead of Incremental (no bitmap of job" in said and "Backup OK" in said
    user.book.close()


def _questions(user):
    status = user.bacula.console("status client=fd")
    plugins = re.search(r"^ Plugin: .*", status, re.M)[0]
    user.book.note("status", f"*status client=fd\n…\n{plugins}\n…")
    user.type("ls", f".ls {_LINE} path=/", f".ls {_LINE} path=/vm", f".ls {_LINE} path=/vmid")
    user.type("query", f".query {_LINE} parameter=vm")
    user.type("estimate", "estimate job=VM1 level=Full listing")


def _began(user, jobid):
    """A job's start gets a second of its own in the sessions, as it has here."""
    await_next_second()
    user.book.moments[user.bacula.catalog.start_time(jobid)] = f"2026-11-23 01:05:{10 * jobid:02}"


def _backups(user, guest):
    """Five jobs; a moment between the second and the third."""
    await_next_second()
    for jobid, level in enumerate(("Full", "Incremental", "Differential"), 1):
        if level == "Differential":
            moment = time.strftime("%Y-%m-%d %H:%M:%S")
            user.book.moments[moment] = "2026-11-23 01:05:25"
            await_next_second()
        said = user.type(level.lower(), _RUN.format(level), *_END)
        assert re.search(rf"Dumped VM1/ide0-hd0: {level}, .*Backup OK", said, re.S)
        _began(user, jobid)
        _write(guest, len(level))
    user.type("list-files", "list files jobid=1")
    _traced(user, guest)
    _began(user, 4)
    _write(guest, 1)
    assert user.bacula.run("VM1", "Incremental").ok
    user.bacula.console("messages")  # those were nobody's to see
    _began(user, 5)
    user.type("list-jobs", "list jobs")
    user.type("show-fileset", "show fileset=VM1")
    return moment


def _write(guest, seed):
    for disk in guest.disks:
        guest.random_writes(disk, 5, seed=seed)


def _traced(user, guest):
    """An Incremental with the File Daemon's trace; what the plugin told QEMU of disk 0."""
    user.type("trace", "setdebug level=800 trace=1 client=fd", _RUN.format("Incremental"), "wait",
              "setdebug level=0 trace=0 client=fd")
    trace = (user.bacula.fd_working / "fd.trace").read_text()
    lines = [line for line in re.findall(_QMP_SHOWN, trace) if not re.search(r"bacula-4-1[- \"]", line)
             or "transaction" in line]
    assert any("blockdev-backup" in line for line in lines)
    user.book.note("qmp", re.sub(r'\{"type"', r'\n  \g<0>', "\n".join(lines)))
    (user.bacula.fd_working / "fd.trace").unlink()


def _restores_elsewhere(user, restored, held, moment):
    said = user.type("restore-directory", f"{_NEWEST.format(_RESTORED)} yes", *_END)
    assert said.count("Patching incremental: ide0-hd0") == 3
    for disk, content in held.items():
        assert_same(content, restored / f"@qemu/VM1/0/{disk}.qcow2")
    _look_as_the_page_says(restored)
    raw = restored / "ide0-hd1.raw"
    image = restored / "@qemu/VM1/0/ide0-hd1.qcow2"
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", image, raw], check=True)
    assert_same(held["ide0-hd1"], raw, "raw")
    before = f'restore fileset=VM1 where={_RESTORED} before="{moment}" select all done yes'
    said = user.type("restore-before", before, *_END)
    assert said.count("Patching incremental: ide0-hd0") == 1

    def pick(console):
        restore_dialogue.select(console, ["/@qemu/VM1/0/ide0-hd0.qcow2"])
        restore_dialogue.configure(console, {})

    user.dialogue("restore-one-disk", f"restore fileset=VM1 where={_RESTORED} select current", pick,
                  *_END)
    user.type("restore-working", f"{_NEWEST.format('/')} yes", *_END)


def _look_as_the_page_says(restored):
    """docs/restore.md's commands on what came."""
    for command in ("qemu-img info", "qemu-img check"):
        subprocess.run([*command.split(), _IMAGE.replace(_RESTORED, str(restored))], check=True)
    page = (SESSIONS.parent / "restore.md").read_text()
    command = re.search(r"^    (python3 -c .*command_line.*)$", page, re.M)[1]
    shown = subprocess.run(command.replace(_RESTORED, str(restored)), shell=True, check=True,
                           capture_output=True, text=True).stdout
    assert shown.startswith("qemu-system-x86_64 ") and " -name VM1 " in shown


def _restores_to_original_files(user, guest, images, held):
    def convert(console):
        restore_dialogue.configure(console, {"convdestination": "yes"})

    said = user.dialogue("restore-running", _NEWEST.format("/"), convert, *_END)
    assert "is in use by a running guest" in said
    guest.quit()
    said = user.dialogue("restore-original", _NEWEST.format("/"), convert, *_END)
    assert "Converted device ide0-hd1 to raw: /images/vm1-data.raw" in said
    for disk, path in images.items():
        assert_same(held[disk], path, path.suffix.removeprefix("."))
