"""The harness' own tests: they need no plugin of ours."""

import os
import pwd
import shutil
import time
from pathlib import Path

import pytest

from harness.disk import MIB, Disk, assert_same, make_image
from harness.process import Failure, run


def test_chosen_qemu(make_bacula, make_guest, record_property):
    """Guests, and the qemu-img that the plugin finds, are those of QEMU_FD_QEMU."""
    if not os.environ.get("QEMU_FD_QEMU"):
        pytest.skip("the machine's own QEMU is used")
    programs = Path(os.environ["QEMU_FD_QEMU"]).resolve() / "usr" / "bin"
    guest = make_guest()
    assert Path(f"/proc/{guest.pid}/exe").resolve().parent == programs
    bacula = make_bacula(plugin=None, filesets={"plain": ["/etc/hostname"]})
    environment = Path(f"/proc/{bacula.fd_pid}/environ").read_bytes().split(b"\0")
    (path,) = (entry[5:] for entry in environment if entry.startswith(b"PATH="))
    image_tool = shutil.which("qemu-img", path=path.decode())
    assert Path(image_tool).parent == programs
    version = guest.qmp("query-version")
    number = "{major}.{minor}.{micro}".format(**version["qemu"])
    package = version["package"].strip(" ()").rpartition(":")[2]
    record_property("qemu", f"{number} ({package})")
    record_property("qemu-img", run([image_tool, "--version"]).split()[2])


def _bpipe(bacula_root):
    return bacula_root / "usr/lib/bacula/bpipe-fd.so"


def test_backup_and_restore_of_a_plain_file(make_bacula, workdir):
    source = workdir / "source.txt"
    source.write_text("first")
    bacula = make_bacula(plugin=None, filesets={"plain": [source]})

    full = bacula.run("plain")
    source.write_text("second, and longer")
    incremental = bacula.run("plain", level="Incremental")
    assert (full.status, full.level, full.files) == ("T", "F", 1)
    assert (incremental.status, incremental.level, incremental.files) == ("T", "I", 1)
    assert [file.path for file in bacula.list_files(full.jobid)] == [str(source)]
    assert bacula.list_files(full.jobid)[0].size == len("first")

    restored = bacula.restore([full.jobid, incremental.jobid], workdir / "restored")
    assert restored.ok and "Restore OK" in restored.log
    copy = workdir / "restored" / source.relative_to("/")
    assert copy.read_text() == "second, and longer"


def test_backup_and_restore_through_a_plugin(make_bacula, bacula_root, workdir):
    output = workdir / "output"
    filesets = {
        "pipes": [
            f"bpipe:/@pipe/{name}/data:echo {name}:sh -c 'cat >>{output}'"
            for name in ("one", "two")
        ]
    }
    bacula = make_bacula(plugin=_bpipe(bacula_root), filesets=filesets)
    full = bacula.run("pipes")
    # Each also saves a form of restore options on the newer version.
    saved = [file.path for file in bacula.list_files(full.jobid)]
    assert full.ok and saved == ["/@pipe/one/data", "/@pipe/two/data"]

    assert bacula.restore(full.jobid, "/").ok
    assert sorted(output.read_text().split()) == ["one", "two"]
    output.unlink()
    selected = bacula.restore(full.jobid, "/", files=["/@pipe/two/data"])
    assert selected.ok and selected.files == 1
    assert output.read_text() == "two\n"


def test_plugin_options_of_a_restore(make_bacula, bacula_root, bacula_version, workdir):
    if bacula_version == "9.6.7":
        pytest.skip("bpipe of 9.6.7 has no restore options")
    filesets = {
        "pipes": [f"bpipe:/@pipe/{name}:echo {name}:sh -c 'exit 1'" for name in ("one", "two")]
    }
    bacula = make_bacula(plugin=_bpipe(bacula_root), filesets=filesets)
    options = {"restore_command": f"sh -c 'cat >>{workdir}/output'"}
    restored = bacula.restore(bacula.run("pipes").jobid, "/", plugin_options=options)
    assert restored.ok and "Plugin Restore Options" in restored.transcript
    assert sorted((workdir / "output").read_text().split()) == ["one", "two"]


def test_console_commands(make_bacula, bacula_root, bacula_version, workdir):
    (workdir / "file").write_text("content")
    bacula = make_bacula(plugin=_bpipe(bacula_root), filesets={"plain": [workdir / "file"]})
    assert "2000 OK estimate files=1 bytes=7" in bacula.estimate("plain", listing=True)
    assert "2000 OK estimate" in bacula.ls("bpipe:", "/")
    unknown = "is an invalid command" in bacula.query("bpipe:", "vm")
    assert unknown == (bacula_version == "9.6.7")
    jobid = bacula.run("plain").jobid
    bacula.delete_job(jobid)
    assert bacula.catalog.job(jobid) is None
    with pytest.raises(Failure, match="Unable to get Job record"):
        bacula.restore(jobid, workdir / "restored")
    with pytest.raises(Failure, match="No plugin to configure"):
        bacula.restore(
            bacula.run("plain").jobid, workdir / "restored", plugin_options={"a": "b"}
        )


def test_many_jobs_at_once(make_bacula, workdir):
    (workdir / "file").write_bytes(os.urandom(MIB))
    bacula = make_bacula(plugin=None, filesets={"plain": [workdir / "file"]})
    jobids = [bacula.run("plain", wait=False) for _ in range(12)]
    assert [bacula.wait(jobid).status for jobid in jobids] == ["T"] * 12


def test_cancel_and_time_out(make_bacula, bacula_root):
    bacula = make_bacula(
        plugin=_bpipe(bacula_root), filesets={"slow": ["bpipe:/@pipe/slow:sleep 60:cat"]}
    )
    jobid = bacula.run("slow", wait=False)
    with pytest.raises(Failure, match="Start Backup JobId"):
        bacula.wait(jobid, timeout=1)
    bacula.cancel(jobid)
    # bpipe waits for its reader, which the daemon's death ends.
    bacula.kill_fd()
    assert bacula.wait(jobid).status == "A"


def test_daemons_come_back(make_bacula, workdir):
    (workdir / "file").write_text("content")
    bacula = make_bacula(plugin=None, filesets={"plain": [workdir / "file"]})
    bacula.kill_fd()
    bacula.start_fd()
    bacula.kill_sd()
    bacula.start_sd()
    assert bacula.run("plain").ok
    now, highest = bacula.fd_rss()
    assert 0 < now <= highest
    assert bacula.fd_leftovers() == []


def test_a_job_with_an_error_is_not_ok(make_bacula, workdir):
    (workdir / "file").write_text("content")
    filesets = {"plain": [workdir / "file"], "partial": [workdir / "file", workdir / "missing"]}
    bacula = make_bacula(plugin=None, filesets=filesets)
    partial = bacula.run("partial")
    assert (partial.status, partial.errors, partial.ok) == ("T", 1, False)
    whole = bacula.run("plain")
    assert (whole.status, whole.errors, whole.ok) == ("T", 0, True)


def test_new_filesets_after_reload(make_bacula, workdir):
    (workdir / "file").write_text("content")
    bacula = make_bacula(plugin=None, filesets={"plain": [workdir / "file"]})
    bacula.filesets["other"] = [workdir / "file"]
    bacula.jobs["other"] = "other"
    bacula.reload()
    assert bacula.run("other").ok


def _disks(workdir):
    """Every way to attach a disk, among them one of an odd size."""
    odd = 16 * MIB + 3 * 512
    specimens = [
        ("ide0-hd0", "qcow2", "ide", "drive", 32 * MIB),
        ("drive-virtio0", "raw", "virtio", "drive", 16 * MIB),
        ("drive-scsi0", "qcow2", "scsi", "drive", odd),
        ("node-ide", "raw", "ide", "blockdev", odd),
        ("node-virtio", "qcow2", "virtio", "blockdev", 16 * MIB),
        ("drive-scsi1", "qcow2", "scsi", "blockdev+throttle", 32 * MIB),
    ]
    return [
        Disk(name, make_image(workdir / f"{name}.{fmt}", size, fmt, seed), fmt, interface, style)
        for seed, (name, fmt, interface, style, size) in enumerate(specimens)
    ]


def _assert_disks_match(guest):
    for name, disk in guest.disks.items():
        assert_same(guest.shadow(name), disk.path, disk.fmt)


def test_shadows_follow_the_disks(make_guest, workdir):
    guest = make_guest(disks=_disks(workdir))
    guest.assert_clean()
    for seed, name in enumerate(guest.disks):
        guest.random_writes(name, 200, seed)
        guest.write(name, 0xAA, 65000, 1536)
        guest.write_zeroes(name, 3 * MIB + 512, 200000 // 512 * 512)
        guest.write_zeroes(name, 5 * MIB, MIB, unmap=True)
        guest.discard(name, 7 * MIB, MIB)
        guest.flush(name)
    before = {name: guest.snapshot(name) for name in guest.disks}
    guest.quit()
    _assert_disks_match(guest)

    guest.start()
    for name in guest.disks:
        guest.random_writes(name, 20, seed=99)
    guest.restart()
    guest.quit()
    _assert_disks_match(guest)
    for name, disk in guest.disks.items():
        with pytest.raises(AssertionError, match="(?i)content mismatch"):
            assert_same(before[name], disk.path, disk.fmt)


def test_resize_of_a_running_disk(make_guest, workdir):
    guest = make_guest(disks=_disks(workdir))
    for name in ("drive-virtio0", "node-virtio", "drive-scsi1"):
        guest.resize(name, 48 * MIB)
        guest.write(name, 7, 47 * MIB, MIB)
    guest.quit()
    _assert_disks_match(guest)


def test_errors_of_qemu_io_are_noticed(make_guest, workdir):
    guest = make_guest(disks=_disks(workdir))
    for name in guest.disks:
        with pytest.raises(Failure, match="write failed"):
            guest.write(name, 1, 100 * MIB, 512)


def test_leftovers_are_noticed(make_guest, workdir):
    guest = make_guest(disks=_disks(workdir))
    guest.qmp("blockdev-add", driver="null-co", node_name="bacula-7-left")
    guest.stop()
    with pytest.raises(AssertionError, match="node bacula-7-left.*guest is paused"):
        guest.assert_clean(patience=0)


def test_bitmaps_below_a_filter_are_found(make_guest, workdir):
    guest = make_guest(disks=_disks(workdir))
    for disk in guest.disks.values():
        node = disk.name if disk.style == "drive" else disk.format_node
        guest.qmp("block-dirty-bitmap-add", node=node, name=f"of-{disk.name}")
    for name in guest.disks:
        assert list(guest.bitmaps(name)) == [f"of-{name}"]


def test_guest_of_another_user_with_cdrom_and_overlay(make_guest, public_folder):
    base = make_image(public_folder / "base.qcow2", 8 * MIB)
    overlay = make_image(public_folder / "top.qcow2", 8 * MIB, backing=(base, "qcow2"))
    image = make_image(public_folder / "medium.raw", MIB, "raw")
    disks = [
        Disk("system", overlay, style="blockdev"),
        Disk("medium", image, "raw", "ide", "blockdev", cdrom=True),
    ]
    guest = make_guest(disks=disks, runas="nobody")
    assert os.stat(f"/proc/{guest.pid}").st_uid == pwd.getpwnam("nobody").pw_uid
    guest.random_writes("system", 50, seed=1)
    guest.quit()
    assert_same(guest.shadow("system"), overlay)


def test_disk_on_a_block_device(make_guest, make_loop_device, workdir):
    device = make_loop_device(make_image(workdir / "volume.raw", 8 * MIB, "raw"))
    guest = make_guest(disks=[Disk("volume", device, "raw", style="blockdev")])
    guest.random_writes("volume", 50, seed=1)
    guest.quit()
    assert_same(guest.shadow("volume"), device, "raw")


def test_raw_image_of_half_a_sector(make_guest, workdir):
    image = make_image(workdir / "odd.raw", MIB + 100, "raw")
    guest = make_guest(disks=[Disk("odd", image, "raw")])
    guest.write("odd", 1, MIB - 512, 1024)
    guest.quit()
    assert_same(guest.shadow("odd"), image, "raw")


def test_idle_guest_costs_no_time(make_guest, workdir):
    guest = make_guest(disks=_disks(workdir))

    def ticks():
        fields = Path(f"/proc/{guest.pid}/stat").read_text().split()
        return int(fields[13]) + int(fields[14])

    time.sleep(2)  # the BIOS looks for disks first
    before = ticks()
    time.sleep(2)
    assert ticks() - before < 20, "an idle guest takes more than a tenth of a CPU"
