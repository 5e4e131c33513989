"""A real File Daemon with the sanitizers sees what is wrong in the plugin, and nothing else.

"make check-asan" runs all other tests of the File Daemon in this way.
"""

import pytest

from harness import sanitizer
from harness.disk import MIB, Disk, make_image
from harness.marks import one_version
from harness.process import PATIENCE, run, wait_until

_SOURCES = sanitizer.BUILD.parents[1]
_LIBRARIES = ["jansson", "libcurl", "libnbd", "libpcre2-8", "libssl", "libcrypto"]
_SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]
# What is changed in src/bacula/session.c, and what the sanitizers say of it.
_DEFECTS = {
    "leak": (
        "    free(session->object);\n    free(session->answer);\n",
        "    session->object = NULL;\n    free(session->answer);\n",
        r"Direct leak of \d+ byte\(s\) in 1 object\(s\) allocated from:\n.*\n *#1 session_object ",
    ),
    "overflow": ("calloc(1, count)", "calloc(1, count - 3)", "heap-buffer-overflow"),
    "undefined": (
        "*length = (int32_t)count;",
        "*length = (int32_t)count;\n    if (*length + INT32_MAX == 7)\n        *length = 7;",
        r"session\.c:\d+:\d+: runtime error: signed integer overflow",
    ),
}


@pytest.fixture
def guest(make_guest, workdir):
    return make_guest(name="VM1", disks=[Disk("vda", make_image(workdir / "a.qcow2", 4 * MIB, seed=1))])


def _defective_plugin(folder, before, after):
    """The plugin as it would be with one thing changed in session.c."""
    source = (_SOURCES / "src/bacula/session.c").read_text()
    assert source.count(before) == 1, f"session.c has changed: {before}"
    folder.mkdir()
    changed, plugin = folder / "session.c", folder / "qemu-fd.so"
    changed.write_text(source.replace(before, after))
    objects = [path for path in sanitizer.BUILD.glob("obj/**/*.o") if path.stem != "session"]
    objects = [path for path in objects if path.parent.name != "host"]
    run([
        "cc", "-shared", "-g", "-O1", "-std=c17", "-fPIC", "-fvisibility=hidden", "-D_GNU_SOURCE", *_SANITIZE,
        f"-I{_SOURCES}/include", f"-I{_SOURCES}/src", "-o", plugin, changed, *objects,
        *run(["pkg-config", "--libs", *_LIBRARIES]).split(),
    ])  # fmt: skip
    return plugin


def _back_up_and_restore(bacula, where):
    job = bacula.run("VM")
    return job.ok and bacula.restore([job.jobid], where).ok


def _file_sets(guest):
    return {"VM": [f"qemu: qmpcontrol={guest.qmp_socket}"]}


def test_nothing_is_found(make_bacula, guest, workdir):
    """A backup and a restore, and the leak check has been made."""
    bacula = make_bacula(filesets=_file_sets(guest), plugin=sanitizer.PLUGIN, sanitized=True)
    assert _back_up_and_restore(bacula, workdir / "restored")
    before = sanitizer.looked_at()
    bacula.stop()
    assert sanitizer.looked_at() > before


@one_version
@pytest.mark.parametrize("defect", _DEFECTS)
def test_a_defect_is_found(defect, make_bacula, guest, workdir):
    """One byte string not freed, one written past its end, one sum too large."""
    before, after, finding = _DEFECTS[defect]
    plugin = _defective_plugin(workdir / "defective", before, after)
    bacula = make_bacula(filesets=_file_sets(guest), plugin=plugin, sanitized=True)
    if defect == "leak":
        assert _back_up_and_restore(bacula, workdir / "restored")
    else:  # it ends on the spot, of which the Director takes a minute to hear
        bacula.run("VM", wait=False)
        wait_until(lambda: sanitizer.has_ended(bacula.fd_pid), PATIENCE, "the File Daemon to end")
    with pytest.raises(sanitizer.Finding, match=finding):
        bacula.stop()


@one_version
def test_the_children_have_no_sanitizer(make_bacula, guest, workdir):
    """qemu-img runs as it is: nothing of the daemon's environment comes through."""
    seen = workdir / "environment"
    program = workdir / "bin" / "qemu-img"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nenv >>{seen}\nexec /usr/bin/qemu-img "$@"\n')
    program.chmod(0o755)
    bacula = make_bacula(
        filesets=_file_sets(guest), plugin=sanitizer.PLUGIN, sanitized=True,
        fd_env={"PATH": f"{program.parent}:/usr/sbin:/usr/bin:/sbin:/bin"},
    )  # fmt: skip
    assert bacula.run("VM").ok
    assert "PATH=" in seen.read_text()
    assert not [line for line in seen.read_text().splitlines() if line.startswith(("LD_", "ASAN_", "UBSAN_"))]
