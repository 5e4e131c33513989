"""Fixtures: each test gets Baculas and guests of its own and leaves nothing."""

import contextlib
import fcntl
import functools
import hashlib
import os
import re
import shutil
import tempfile
from pathlib import Path

import pytest

from fault_cases.outcome import write_cell
from fault_cases.stage import Stage, own_errors
from harness import sanitizer, surroundings
from harness.bacula import Bacula
from harness.disk import loop_device, loop_devices_work, tmpfs
from harness.guest import Guest
from harness.own_network import enter_own_network
from harness.process import Failure
from harness.vm1 import vm1_history
from harness.proxmox import FakeProxmox

_TOP = Path(__file__).resolve().parents[2]
_BACULA_DIR = Path(os.environ.get("BACULA_DIR", _TOP / "build" / "bacula")).resolve()
_BUILT = sanitizer.PLUGIN if sanitizer.ACTIVE else _TOP / "build" / "qemu-fd.so"
_PLUGIN = Path(os.environ.get("QEMU_FD", _BUILT)).resolve()
_QEMU = os.environ.get("QEMU_FD_QEMU")  # a folder of tools/fetch-qemu, for guests, plugin and tests
_TESTS = _TOP / "build" / "tests"
_VERSIONS = ("9.6.7", "15.0.3")
_ELSEWHERE = "QEMU_FD_TESTS_FOLDER"  # for the workers
_OWN_NETWORK = pytest.StashKey[bool]()
_CLAIM = pytest.StashKey()
# Fixtures that take seconds to make, and what they are made for.
_MADE_ONCE = {"_shared_vm1", "_shared", "_world", "saved", "host", "_two_guests", "_simple",
              "_hosts", "_hosts_with_token"}
# Files with tests that take half a minute and more, most of it waiting.
_LASTING = {"test_faults", "test_guest_first", "test_walk", "test_conduct", "test_memory", "test_torture"}
_MADE_FOR = {"bacula_version", "host", "_hosts", "_hosts_with_token"}


def pytest_configure(config):
    """Whoever runs tests, one of pytest-xdist's workers, does so in a network of its own.

    Of the chosen QEMU the programs come first: the File Daemon looks qemu-img up in its PATH.
    """
    surroundings.leave_behind()
    if not hasattr(config, "workerinput"):
        config.stash[_CLAIM] = _claim_folder()
    with contextlib.suppress(OSError):
        enter_own_network()
        config.stash[_OWN_NETWORK] = True
    if _QEMU:
        programs = Path(_QEMU).resolve() / "usr" / "bin"
        os.environ["PATH"] = f"{programs}{os.pathsep}{os.environ['PATH']}"


def _claim_folder():
    """Let another run in this checkout keep its tests' folders: ours are elsewhere then."""
    _TESTS.parent.mkdir(exist_ok=True)
    claim = _TESTS.with_suffix(".lock").open("w")
    try:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.environ[_ELSEWHERE] = f"{_TESTS}-{os.getpid()}"
    return claim


def _tests_folder():
    return Path(os.environ.get(_ELSEWHERE, _TESTS))


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist looks at the marks
def pytest_collection_modifyitems(config, items):
    """Which tests run, and which one after another when others run beside them (pytest-xdist)."""
    if sanitizer.ACTIVE:
        left_out = [item for item in items if not sanitizer.concerns(item)]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    for item in items:
        if group := _group_of(item, config.stash.get(_OWN_NETWORK, False)):
            item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=_turn)


def _turn(item):
    """What lasts long begins early, lest the last worker runs alone: whole groups above all."""
    return not item.get_closest_marker("xdist_group"), item.path.stem not in _LASTING


def _group_of(item, own_network):
    """Those of one module share what it made once, those of one network Proxmox' port."""
    if not own_network and item.path.name.startswith(("test_proxmox", "test_pve")):
        return "proxmox"
    if _MADE_ONCE & set(item.fixturenames):
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        made_for = [str(value) for name, value in parameters.items() if name in _MADE_FOR]
        return "-".join([item.path.stem, *made_for])
    return None


def pytest_sessionstart(session):
    """The controller of all workers counts anew."""
    if sanitizer.ACTIVE and not hasattr(session.config, "workerinput"):
        sanitizer.forget()


def pytest_terminal_summary(terminalreporter):
    """How often the sanitizers had a look."""
    if looked_at := sanitizer.looked_at():
        terminalreporter.write_line(f"{looked_at} runs of a File Daemon were checked for leaks")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """Let fixtures see whether the test failed."""
    outcome = yield
    if outcome.get_result().failed:
        item.failed = True


def _folder_name(test):
    """A test's name as a folder's, short: Bacula takes no more than 127 bytes of a path."""
    name = re.sub(r"[^\w.-]+", "-", test).strip("-")
    if len(name) <= 48:
        return name
    return f"{name[:39]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


@pytest.fixture
def workdir(request):
    """A folder of the test's own, kept when it fails."""
    folder = _tests_folder() / _folder_name(request.node.name)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    yield folder
    if not getattr(request.node, "failed", False):
        shutil.rmtree(folder)


@pytest.fixture
def public_folder():
    """A folder that other users can enter, also when the repository is in /root."""
    with tempfile.TemporaryDirectory(prefix="guest-") as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@pytest.fixture(scope="module", params=_VERSIONS)
def bacula_version(request):
    """Run the test on every Bacula version."""
    if not (_BACULA_DIR / request.param).is_dir():
        pytest.fail(f"no Bacula {request.param}: run tools/fetch-bacula {_BACULA_DIR}")
    return request.param


@pytest.fixture(scope="module")
def bacula_root(bacula_version):
    """Folder with the unpacked packages of that version."""
    return _BACULA_DIR / bacula_version


@pytest.fixture(scope="module")
def plugin():
    """The plugin under test."""
    if not _PLUGIN.exists():
        pytest.fail(f"no plugin at {_PLUGIN}: run make, or set QEMU_FD")
    return _PLUGIN


@pytest.fixture
def make_bacula(workdir, bacula_root, request):
    """Start a Bacula: make_bacula(filesets={...}, ...) as for class Bacula.

    It has the plugin under test unless the call says plugin=....
    """
    with contextlib.ExitStack() as stack:

        def make(name="bacula", **options):
            if "plugin" not in options:
                options["plugin"] = request.getfixturevalue("plugin")
            bacula = Bacula(bacula_root, workdir / name, **options)
            stack.callback(bacula.stop)
            bacula.start()
            return bacula

        yield make


@pytest.fixture(scope="session")
def stages(tmp_path_factory):
    """Baculas for faults, made when they are first asked for: stages(version, preloaded)."""
    plugin = _PLUGIN
    with contextlib.ExitStack() as stack:

        @functools.cache
        def make(version, preloaded=False):
            folder = tmp_path_factory.mktemp(f"stage-{version}-{preloaded}") / "stage"
            return stack.enter_context(Stage(_BACULA_DIR / version, plugin, folder, preloaded))

        yield make


@pytest.fixture
def note_cell(request):
    """Note how a cell of the fault table ended: note_cell(table, fault, moment, version, …).

    Noted before as well, without a result, it is also on the page when its job never ended.
    """
    noted = {}

    def note(table, fault, moment, version, result=None, seconds=0, ends=""):
        noted.update(table=table, ends=ends, fault=fault, moment=moment, version=version,
                     status=result.status if result else "", seconds=round(seconds, 1),
                     errors=own_errors(result.log) if result else [])

    yield note
    if noted:  # a test whose fixtures failed has no cell to tell of
        write_cell(noted, good=not getattr(request.node, "failed", False))


@pytest.fixture
def make_guest(workdir):
    """Start a guest: make_guest(name="vm", disks=[...], ...) as for class Guest."""
    with contextlib.ExitStack() as stack:

        def make(name="vm", **options):
            guest = Guest(workdir / name, name=name, **options)
            stack.callback(guest.close)
            guest.start()
            return guest

        yield make


@pytest.fixture
def make_proxmox(workdir):
    """Start a Proxmox host: make_proxmox("7.2", ...) as for class FakeProxmox."""
    with contextlib.ExitStack() as stack:

        def make(version, name="pve", **options):
            host = FakeProxmox(version, workdir / name, **options)
            stack.callback(host.close)
            host.start()
            return host

        yield make


@pytest.fixture(scope="module")
def _shared_vm1(bacula_root, plugin, request):
    folder = _tests_folder() / f"{request.module.__name__}-{bacula_root.name}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    before = request.session.testsfailed
    with vm1_history(bacula_root, plugin, folder) as history:
        yield history
    if request.session.testsfailed == before:
        shutil.rmtree(folder)


@pytest.fixture
def vm1(_shared_vm1):
    """The manual's guest with a Full and two Incrementals, for tests that only restore.

    Those that need no version in particular belong behind the others of their
    file: then it is made twice only.
    """
    yield _shared_vm1
    shutil.rmtree(_shared_vm1.bacula.fd_working / "@qemu", ignore_errors=True)


@pytest.fixture
def own_vm1(bacula_root, plugin, workdir):
    """The same for a test that changes it."""
    with vm1_history(bacula_root, plugin, workdir) as history:
        yield history


@pytest.fixture
def make_tmpfs(workdir):
    """Mount a small file system, where the machine allows it: make_tmpfs(name, bytes)."""
    with contextlib.ExitStack() as stack:

        def make(name, size):
            try:
                return stack.enter_context(tmpfs(workdir / name, size))
            except (Failure, FileNotFoundError):
                pytest.skip("this machine lets us mount nothing")

        yield make


@pytest.fixture
def make_loop_device(workdir):
    """Turn a file into a block device, where the machine allows it."""
    if not loop_devices_work(workdir):
        pytest.skip("this machine lets us make no loop devices")
    with contextlib.ExitStack() as stack:
        yield lambda path: stack.enter_context(loop_device(path))
