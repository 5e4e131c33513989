"""The commands that the documentation shows: each is run by a test, or developing.md says that it is not."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from harness.director_check import file_daemon_check
from harness.monitor import Monitor
from harness.process import PATIENCE, Failure, run, spawn, stop, wait_until

_TOP = Path(__file__).resolve().parents[2]
_DOCS = _TOP / "docs"
_PAGES = [_TOP / "README.md", _TOP / "SECURITY.md", *sorted(_DOCS.rglob("*.md"))]

# Where a command of the pages is run: "" stands for by whoever runs these tests, or the demo; else
# a function of this file, or a file of the tests that runs the program.
_RUN_BY = {
    "sh bootstrap demo": "",
    "sh bootstrap check": "",
    "make": "",
    "make build/fd-host": "",
    "make bacula": "",
    "/usr/bin/python3 -m pytest -c tests/integration/pytest.ini tests/integration -k NAME": "",
    "make install": "test_install_commands",
    "make install PLUGINDIR=/opt/bacula/plugins": "test_install_commands",
    "make uninstall": "test_install.py",
    "make dist": "test_install_commands",
    "make open": "test_open.py",
    "make install-open": "test_open.py",
    "qemu-fd-open list /var/lib/bacula/volumes": "test_open.py",
    "qemu-fd-open cat --job VMs.2026-11-28_12.00.00_07 /@qemu/web1/100/config.json /var/lib/bacula/volumes": "test_open.py",
    "qemu-fd-open cat --job VMs.2026-11-21_12.00.00_03 /@qemu/web1/100/scsi0.qcow2 /var/lib/bacula/volumes > 0.qcow2":
        "test_open.py",
    "make man": "test_docs.py",
    "apt-get install --no-install-recommends gcc libc6-dev make pkg-config python3 libjansson-dev "
    "libcurl4-openssl-dev libnbd-dev libpcre2-dev libssl-dev": "test_packages_are_those_of_bootstrap",
    "sh bootstrap debs": "../packages/test_proxmox.py",
    "sh bootstrap debs DEBIAN=12": "../packages/test_proxmox.py",
    "sh bootstrap debs DEBIAN=13": "../packages/test_proxmox.py",
    "apt-get install ./build/debs/bacula-qemu-fd-plugin_*+deb12_amd64.deb": "../packages/test_proxmox.py",
    "apt-get install ./build/debs/bacula-qemu-fd-plugin_*+deb13_amd64.deb": "../packages/test_proxmox.py",
    "rpmbuild -tb build/qemu-fd-$(cat VERSION).tar.gz": "../packages/rpm_package.py",
    "grep -i 'plugin *directory' /etc/bacula/bacula-fd.conf": "test_plugin_directory_of_debian",
    "qemu-system-x86_64 -name VM1 … -qmp unix:/run/vm1.qmp,server=on,wait=off": "test_qemu_command",
    "qemu-img info /srv/restored/@qemu/VM1/0/ide0-hd0.qcow2": "test_docs_sessions.py",
    "qemu-img check /srv/restored/@qemu/VM1/0/ide0-hd0.qcow2": "test_docs_sessions.py",
    "qemu-img info FILE": "test_stored_bitmaps",
    "qemu-img bitmap --remove FILE NAME": "test_stored_bitmaps",
    "install -d -m 700 /srv/restored": "test_folders_and_files_of_ones_own",
    "install -d -m 700 /var/spool/qemu-fd": "test_folders_and_files_of_ones_own",
    "install -m 600 /dev/null /etc/bacula/pve-token && cat >/etc/bacula/pve-token":
        "test_folders_and_files_of_ones_own",
    "openssl req -x509 -newkey rsa:2048 -nodes -days 36500 -subj /CN=fd -keyout fd.key -out fd.crt":
        "test_file_daemon_takes_the_keys",
    "cat fd.key fd.crt | install -m 600 /dev/stdin /etc/bacula/fd-keys.pem": "test_file_daemon_takes_the_keys",
    "openssl x509 -noout -fingerprint -sha256": "test_pve_access.py",
    "python3 examples/remove-bitmaps.py /run/vm1.qmp": "test_examples.py",
    "python3 examples/remove-bitmaps.py /run/vm1.qmp --job VM1 --remove": "test_examples.py",
    "python3 examples/remove-bitmaps.py /run/vm1.qmp --older-than 90 --remove": "test_examples.py",
    "python3 examples/remove-bitmaps.py /run/vm1.qmp --remove": "test_examples.py",
    "python3 restore-guest.py convdestination=yes -- fileset=VM1 where=/ select current all done":
        "test_restore_script.py",
    "python3 restore-guest.py format=raw -- fileset=VM1 where=/srv/restored select current all done":
        "test_restore_script.py",
    "python3 restore-guest.py storage=data -- fileset=Proxmox where=/ select current all done":
        "test_restore_script.py",
    "printf 'restore fileset=VM1 where=/ select current all done\\nmod\\n13\\nmod\\n2\\nyes\\nyes\\nyes\\n' | bconsole":
        "test_restore_script.py",
    "bscan -s -m -c /etc/bacula/bacula-sd.conf "
    "-V 'volume-0001|volume-0002|volume-0003|volume-0004' FileStorage": "test_lost_catalog.py",
}
_RUN_WITH_LINE = {"python3 -c ": "test_docs_sessions.py"}  # too long to repeat here

_PROGRAMS = {
    "/usr/bin/python3", "apt-get", "bacula-fd", "bscan", "build/fuzz/fuzz_NAME", "cat", "chmod", "chown", "cp",
    "echo", "grep", "install", "lvcreate", "make",
    "openssl", "printf", "pvecm", "pvesm", "pveum", "python3", "qemu-fd-open", "qemu-img", "qemu-system-x86_64", "qm",
    "rpmbuild", "sh", "systemctl", "tools/fetch-kernel", "tools/fetch-qemu", "virsh", "vzdump", "zfs",
}
# What else stands in indented code.
_NO_COMMAND = (
    r"\*",  # typed into bconsole: test_console_commands_are_recorded
    r"([A-Z][A-Za-z ]+ = |Options \{|[A-Z][A-Za-z]+ \{$|\}|…$)",  # Bacula's configuration
    r"(… qemu:|fd JobId \d|FD Errors: |Termination: )",  # a job log
    r"/@qemu/",  # files of a backup
    r"… {1,}",  # what a program printed
    r'\{"execute": ',  # typed into a QMP socket
    r"</?[a-z]",  # libvirt's domain
    r"(backup@pve!qemu-fd=SECRET$|url=https://)",  # a token's file
    r"(Volume|MediaType|VolSession\w+|FileIndex)=",  # a bootstrap file
)
_TREE_OF_FOLDERS = "house.md"
_NOT_RUN = r"^\| not run by any test \| why \|\n\|[-|]+\n((?:\|.*\n)+)"  # a table of developing.md


def _code(page):
    """Lines of indented code, which begins behind an empty one, without recorded sessions; continued lines are one."""
    text = re.sub(r"<!-- include: .*?<!-- end -->", "", page.read_text(), flags=re.S)
    inside, before = False, ""
    for line in re.sub(r" \\\n +", " ", text).splitlines():
        inside = line.startswith("    ") and (inside or not before.strip())
        if inside and line.strip():
            yield line.strip()
        before = line


def _blocks():
    return [(page, line) for page in _PAGES for line in _code(page)]


def _inline():
    """Code within lines that begins with a program's name and goes on; `qemu-img info` alone is a name."""
    for page in _PAGES:
        text = re.sub(r"<!-- include: .*?<!-- end -->", "", page.read_text(), flags=re.S)
        if page.name == "messages.md":
            text = re.sub(r"^\| `.*?(?= \| )", "", text, flags=re.M)  # messages, as the source has them
        text = re.sub(_NOT_RUN, "", text, flags=re.M)
        text = re.sub(r"^ {4,}.*$", "", text, flags=re.M)
        for code in re.findall(r"`([^`\n]+(?:\n[^`\n]+)?)`", text):  # it may go on in the next line
            code = " ".join(code.split())
            if code.partition(" ")[0] in _PROGRAMS and " " in code and not re.fullmatch(r"qemu-img \w+", code):
                yield page, code


def test_console_commands_are_recorded():
    """Whatever a page types into bconsole stands in a recorded session."""
    recorded = "\n".join(path.read_text() for path in (_DOCS / "sessions").iterdir())
    typed = [(path, line.lstrip("* ")) for path, line in _blocks() if re.match(r"\*\s*[.a-z]", line)]
    assert len(typed) > 10
    for path, command in typed:
        assert f"*{command}\n" in recorded, f"{path.name}: {command}"


def _not_run():
    """Beginnings of commands that developing.md names as not run, each with a reason."""
    developing = (_DOCS / "internals/developing.md").read_text()
    table = re.search(_NOT_RUN, developing, re.M)[1]
    rows = [line.strip("|").split(" | ") for line in table.splitlines()]
    assert all(reason.strip() for _, reason in rows)
    return tuple(code for commands, _ in rows for code in re.findall(r"`([^`]+)`", commands))


def test_code_is_known_for_what_it_is():
    """A line of code is a command whose program is known, or recognizably something else."""
    for path, line in _blocks():
        if path.name != _TREE_OF_FOLDERS and not any(re.match(kind, line) for kind in _NO_COMMAND):
            assert line.partition(" ")[0] in _PROGRAMS, f"{path.name}: what is this? {line}"


def test_shell_commands_are_run_or_listed():
    """In blocks and within lines; and nothing is listed that no page has."""
    blocks = [(path, line) for path, line in _blocks()
              if path.name != _TREE_OF_FOLDERS and line.partition(" ")[0] in _PROGRAMS]
    commands = [*blocks, *_inline()]
    assert len(blocks) > 25 and len(commands) > 50
    for path, line in commands:
        assert line in _RUN_BY or line.startswith((*_RUN_WITH_LINE, *_not_run())), f"{path.name}: {line}"
    shown = [line for _, line in commands]
    for command in _RUN_BY:
        assert command in shown, f"no page shows: {command}"
    for beginning in _not_run():
        assert any(line.startswith(beginning) for line in shown), f"no page shows: {beginning}"


def test_what_runs_commands_is_there():
    """Functions of this file, and files that name the program."""
    for command, runner in [*_RUN_BY.items(), *_RUN_WITH_LINE.items()]:
        if runner.endswith(".py"):
            text = (Path(__file__).parent / runner).read_text()
            program, *words = command.split()
            program = "manpage" if command == "make man" else program
            program = Path(words[0]).name if program == "python3" and words[0].endswith(".py") else program
            assert re.search(rf"\b{re.escape(program)}\b", text), f"{runner} does not run {command}"
        elif runner:
            assert runner in globals(), runner


# Commands that are run here


def test_packages_are_those_of_bootstrap():
    """What the pages let apt install is what bootstrap installs to build."""
    bootstrap = (_TOP / "bootstrap").read_text()
    lists = dict(re.findall(r'^readonly (\w+)_packages="([^"]*)"', bootstrap, re.M))
    builds = [set(line.split()[3:]) for _, line in _blocks() if line.startswith("apt-get install --no")]
    assert {*lists["build"].split(), "python3"} in builds
    for packages in builds:
        assert packages <= {word for words in lists.values() for word in words.split()}


def test_no_command_asks_for_debians_qemu():
    """On a Proxmox VE host apt would remove pve-qemu-kvm for it (tests/packages/test_proxmox.py)."""
    asking = [line for _, line in _blocks() if re.match(r"apt(-get)? .*\bqemu-(utils|system)", line)]
    assert asking == []


def test_folders_and_files_of_ones_own(workdir):
    """What the pages make is for its owner alone."""
    made = []
    for command in [command for command in _RUN_BY if command.startswith("install -")]:
        place = workdir / str(len(made))
        here = re.sub(r"(/srv|/var|/etc)/\S+", str(place), command)
        subprocess.run(here, shell=True, check=True, input=b"USER@REALM!ID=SECRET\n")
        made.append((place.is_dir(), place.stat().st_mode & 0o777))
    assert made == [(True, 0o700), (True, 0o700), (False, 0o600)]


def _of_page(page, beginning):
    (line,) = {line for path, line in _blocks() if path.name == page and line.startswith(beginning)}
    return line


def test_file_daemon_takes_the_keys(bacula_root, workdir):
    """SECURITY.md's commands make a key pair with which bacula-fd -t takes the configuration beside them."""
    pair = workdir / "fd-keys.pem"
    for beginning in ("openssl req", "cat fd.key"):
        command = _of_page("SECURITY.md", beginning).replace("/etc/bacula/fd-keys.pem", str(pair))
        run(["sh", "-c", command], cwd=workdir)
    assert pair.stat().st_mode & 0o777 == 0o600
    lines = [line for path, line in _blocks() if path.name == "SECURITY.md" and line.startswith("PKI ")]
    assert len(lines) == 3
    lines = [line.replace("/etc/bacula/fd-keys.pem", str(pair)) for line in lines]
    file_daemon_check(bacula_root, workdir, *lines)
    pair.write_text("no key")
    with pytest.raises(Failure):
        file_daemon_check(bacula_root, workdir, *lines)


def test_stored_bitmaps(workdir):
    """Those of an image whose guest is off are shown and removed as what-happens.md says."""
    image, name = workdir / "disk.qcow2", "bacula:F:0:VM1.2026-11-23_01.05.00_07"
    run(["qemu-img", "create", "-q", "-f", "qcow2", image, "1M"])
    run(["qemu-img", "bitmap", "--add", image, name])

    def type_in(command):
        return run(shlex.split(command.replace("FILE", str(image)).replace("NAME", name)))

    assert name in type_in("qemu-img info FILE")
    type_in("qemu-img bitmap --remove FILE NAME")
    assert name not in type_in("qemu-img info FILE")


def test_install_commands(workdir):
    """make install puts the plugin where install.md's table says; make dist makes its tarball."""
    for more, folder in (([], "usr/lib/bacula"), (["PLUGINDIR=/opt/bacula/plugins"], "opt/bacula/plugins")):
        run(["make", "-C", _TOP, "-o", "all", "install", f"DESTDIR={workdir}", *more])
        assert (workdir / folder / "qemu-fd.so").is_file()
    run(["make", "-C", _TOP, "dist", f"BUILD={workdir}"])
    assert list(workdir.glob("qemu-fd-*.tar.gz"))


def test_plugin_directory_of_debian(bacula_root):
    """install.md's grep finds in Debian's bacula-fd.conf what its table says."""
    install = (_DOCS / "install.md").read_text()
    pattern = re.search(r"^    grep -i '(.*)' /etc/bacula/bacula-fd.conf$", install, re.M)[1]
    found = run(["grep", "-i", pattern, bacula_root / "usr/share/bacula-common/defconfig/bacula-fd.conf"])
    assert found.split()[-1] == "/usr/lib/bacula"
    assert "| Debian, Ubuntu | /etc/bacula/bacula-fd.conf | /usr/lib/bacula | `make install` |" in install


def test_qemu_command(workdir):
    """Its -qmp option makes a socket that answers."""
    readme = (_TOP / "README.md").read_text()
    (line,) = set(re.findall(r"^ +(qemu-system-x86_64 -name VM1 … -qmp \S+)$", readme, re.M))
    socket = workdir / "vm1.qmp"
    line = line.replace("/run/vm1.qmp", str(socket))
    argv = line.replace("…", "-machine none -nodefaults -display none -S").split()
    process = spawn(argv, workdir / "qemu.log")
    try:
        wait_until(socket.exists, PATIENCE, "the socket")
        monitor = Monitor(socket)
        assert monitor.execute("query-name") == {"name": "VM1"}
        monitor.close()
    finally:
        stop(process)
