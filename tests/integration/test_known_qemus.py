"""What QEMUs can do is asked once a program and job, and never of the wrong one."""

import shutil
from pathlib import Path

import pytest
from harness.disk import MIB, Disk, make_image

_QEMUS = Path(__file__).resolve().parents[2] / "build" / "qemu"
_QUESTION = 'QMP > {"execute":"query-qmp-schema"'
_FIRMWARE = "/usr/share/seabios"
_MODULES = "/usr/lib/x86_64-linux-gnu/qemu"

pytestmark = pytest.mark.parametrize("bacula_version", ["15.0.3"], indirect=True)


@pytest.fixture
def start(make_guest, workdir):
    """A guest with a small disk; parameters of make_guest."""

    def made(name, **options):
        disk = Disk("vda", make_image(workdir / f"{name}.qcow2", MIB))
        return make_guest(name=name, disks=[disk], **options)

    return made


@pytest.fixture
def copy(workdir, monkeypatch):
    """Copies of the guests' usual QEMU in the test's folder, far from its modules."""
    monkeypatch.setenv("QEMU_MODULE_DIR", _MODULES)

    def made(name):
        return Path(shutil.copy2(shutil.which("qemu-system-x86_64"), workdir / name))

    return made


@pytest.fixture
def back_up(make_bacula):
    """One job of these guests: its result, and how often a schema was asked for."""

    def run(guests, way="auto"):
        lines = [f"qemu: qmpcontrol={guest.qmp_socket} transfer={way}" for guest in guests]
        bacula = make_bacula(filesets={"VM": lines}, fd_debug=800)
        result = bacula.run("VM")
        assert result.ok, result.log
        asked = bacula.fd_log().count(_QUESTION)
        again = bacula.run("VM", "Incremental")
        assert again.ok, again.log
        # The next job begins with nothing.
        assert bacula.fd_log().count(_QUESTION) == 2 * asked
        for guest in guests:
            guest.assert_clean()
        return result, asked

    return run


def _another(name):
    """Another QEMU than the guests' usual one."""
    program = _QEMUS / name / "usr" / "bin" / "qemu-system-x86_64"
    if not program.exists():
        pytest.skip(f"no QEMU {name} here (tools/fetch-qemu build/qemu)")
    return str(program)


def test_guests_of_one_program_ask_once(start, back_up):
    """However many there are."""
    guests = [start(f"VM{number}") for number in range(5)]
    assert back_up(guests)[1] == 1


def test_two_programs_do_not_share(start, back_up):
    """Each is treated as what it is, and is known again."""
    newest = _another("newest")
    guests = [start("VM0"), start("VM1", binary=newest), start("VM2")]
    result, asked = back_up(guests)
    assert asked == 2
    assert "VM1 is streamed" in result.log
    for name in ("VM0", "VM2"):
        assert f"{name} is dumped, not streamed: QEMU is too old for it" in result.log


def test_a_program_that_was_replaced(start, back_up, copy):
    """Guests that were started before an update run in what was removed by it."""
    program, new = copy("qemu-system-x86_64"), copy("new")
    before = start("VM0", binary=str(program), extra=["-L", _FIRMWARE])
    new.rename(program)  # as a package manager does
    after = start("VM1", binary=str(program), extra=["-L", _FIRMWARE])
    assert back_up([before, after])[1] == 2


def test_a_schema_that_leaves_something_out(start, back_up):
    """With deprecated-output=hide QEMU's own differs: neither given nor taken."""
    altered = ["-compat", "deprecated-output=hide"]
    guests = [start("VM0", extra=altered), start("VM1"), start("VM2", extra=altered)]
    assert back_up(guests)[1] == 3


def test_what_is_not_surely_qemu_is_asked(start, back_up, copy):
    """A program of another name may be anything."""
    program = str(copy("emulator"))
    guests = [start(name, binary=program, extra=["-L", _FIRMWARE]) for name in ("VM0", "VM1")]
    assert back_up(guests)[1] == 2
