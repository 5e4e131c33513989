"""A private Bacula in a folder: Director, Storage Daemon and File Daemon."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from dataclasses import replace as replace_in
from pathlib import Path

from . import configuration, restore_dialogue, sanitizer
from .catalog import FINAL_STATUS, Catalog
from .console import Console
from .ports import free_ports
from .process import PATIENCE, Failure, kill_all_of, kill_group, run, spawn, stop, wait_until
from .tree import paths_below

_DAEMONS = ("dir", "sd", "fd")
_JOB_STARTED = r"Job queued\. JobId=(\d+)"
_ALL_WELL = r"^ *Termination: +\w+ OK$"
_QUICK_QUEUE = Path(__file__).with_name("quick_queue.c")


@dataclass(frozen=True)
class JobResult:
    """How a job ended, as the catalog has it."""

    jobid: int
    name: str
    status: str
    level: str
    files: int
    bytes: int
    log: str
    transcript: str = ""
    errors: int = 0

    @property
    def ok(self):
        """Ended well and without errors or warnings.

        The catalog's status does not tell: it is T for both.
        """
        return self.status == "T" and bool(re.search(_ALL_WELL, self.log, re.M))


class Bacula:
    """The three daemons on free loopback ports, everything below one folder."""

    def __init__(
        self,
        root,
        folder,
        plugin=None,
        filesets=None,
        jobs=None,
        accurate=False,
        fd_env=None,
        fd_wrapper=(),
        fd_debug=None,
        max_concurrent=20,
        extra_job_lines=(),
        extra_device_lines=(),
        extra_fd_lines=(),
        fileset_options=("Signature = MD5",),
        fd_messages="all, !skipped, !restored",
        more_plugins=(),
        link=None,
        sanitized=sanitizer.ACTIVE,
        extra_message_lines=(),
        second_pool=False,
        interleaved=False,
    ):
        self.root = Path(root)
        self.folder = Path(folder)
        self.fd_working = self.folder / "fd_working"
        self.plugin = plugin and Path(plugin)
        self._more_plugins = list(more_plugins)
        self._link = link  # a Link between File Daemon and Storage Daemon
        self.filesets = filesets or {}
        self.jobs = jobs or {name: name for name in self.filesets}
        self.accurate = accurate
        self.max_concurrent = max_concurrent
        self._extra_job_lines = list(extra_job_lines)
        self._bandwidth_lines = []
        self.extra_device_lines = extra_device_lines
        self.extra_fd_lines = extra_fd_lines
        self.fileset_options = fileset_options
        self.fileset_lines = []  # of each FileSet itself
        self.fd_messages = fd_messages
        self.extra_message_lines = extra_message_lines  # of the Director
        self.second_pool = second_pool  # and jobs that copy, migrate and verify
        self.interleaved = interleaved  # jobs that run at once write to one volume
        self.ports = {}
        self.catalog = Catalog(self.folder / "dir" / "bacula.db")
        self._fd_env = fd_env or {}
        self.fd_wrapper = list(fd_wrapper)  # for the next start of the File Daemon
        self._fd_debug = fd_debug
        self._sanitized = sanitized and self.plugin and self.plugin.name == sanitizer.PLUGIN.name
        self._processes = {}

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    @property
    def version(self):
        """Such as "9.6.7": the name of the folder the packages are in."""
        return self.root.name

    @property
    def extra_job_lines(self):
        """Lines for every backup job's resource."""
        return self._extra_job_lines + self._bandwidth_lines

    # Daemons

    def start(self):
        """Write the configuration, make the catalog, start all daemons."""
        self._make_folders()
        self._install_plugin()
        run(["cc", "-shared", "-fPIC", "-o", self._quick_queue, _QUICK_QUEUE])
        self.ports = dict(zip(_DAEMONS, free_ports(len(_DAEMONS))))
        self.ports["link"] = self._link.start(self.ports["sd"]) if self._link else self.ports["sd"]
        self.write_configuration()
        self._make_catalog()
        for daemon in _DAEMONS:
            self._launch(daemon)
        for daemon in _DAEMONS:
            self._wait_ready(daemon)

    def stop(self):
        """End all daemons; harmless when they are gone."""
        file_daemon = self._processes.get("fd")
        must_look = file_daemon is not None and file_daemon.poll() is None
        if must_look:
            file_daemon.terminate()
            # Told a second time, a daemon does not end its work but exits.
            with contextlib.suppress(subprocess.TimeoutExpired):
                file_daemon.wait(self._grace("fd"))
        # The plugin's daemon alone has to end well: a Director takes four seconds to.
        while self._processes:
            daemon, process = self._processes.popitem()
            if daemon != "fd":
                kill_group(process)
            stop(process)
        if self._sanitized and file_daemon:
            sanitizer.check(self.folder, file_daemon.returncode if must_look else None)

    def start_fd(self):
        """Start the File Daemon again after kill_fd."""
        self._start_one("fd")

    def kill_fd(self, number=signal.SIGKILL, helpers=False):
        """Kill the File Daemon and its children with a signal; helpers: those of the plugin's as well."""
        if helpers:
            kill_all_of(self.helper)
        self._kill("fd", number)

    @property
    def helper(self):
        """The program that the plugin starts."""
        return self.folder / "plugins" / "qemu-fd-helper"

    def start_sd(self):
        """Start the Storage Daemon again after kill_sd."""
        self._start_one("sd")

    def kill_sd(self, number=signal.SIGKILL):
        """Kill the Storage Daemon with a signal."""
        self._kill("sd", number)

    def start_director(self):
        """Start the Director again after kill_director."""
        self._start_one("dir")

    def rebuild_catalog(self):
        """Lose the catalog and let bscan make one of the volumes; what it said."""
        self.kill_director()
        self.kill_sd()
        (self.folder / "dir" / "bacula.db").unlink()
        self._make_catalog()
        volumes = sorted(path.name for path in (self.folder / "volumes").iterdir())
        said = run(
            [self.root / "usr/sbin/bscan", "-s", "-m", "-c", self._configuration_file("sd"),
             "-V", "|".join(volumes), "-n", "bacula", "-u", "", "-w", self.folder / "dir", "drives-0"],
            env={**os.environ, **self._environment()},
        )
        self.start_sd()
        self.start_director()
        return said

    def kill_director(self, number=signal.SIGKILL):
        """Kill the Director with a signal."""
        self._kill("dir", number)

    @property
    def fd_pid(self):
        """Process id of the File Daemon (of its wrapper, if there is one)."""
        return self._processes["fd"].pid

    @property
    def sd_pid(self):
        """Process id of the Storage Daemon."""
        return self._processes["sd"].pid

    def fd_lives(self):
        """Whether the File Daemon that was started last still runs."""
        return self._processes["fd"].poll() is None

    def fd_rss(self):
        """(now, highest) resident memory of the File Daemon in bytes."""
        status = Path(f"/proc/{self.fd_pid}/status").read_text()
        sizes = dict(re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB", status, re.M))
        return int(sizes["VmRSS"]) * 1024, int(sizes["VmHWM"]) * 1024

    def fd_log(self):
        """What the File Daemon wrote to its standard output and error."""
        return (self.folder / "fd.log").read_text(errors="replace")

    def fd_leftovers(self):
        """Files in the working directory that are not the daemon's own."""
        return [path for path in paths_below(self.fd_working) if not path.match("*.state")]

    def write_configuration(self):
        """Write the configuration files as they should be now."""
        writers = {
            "dir": configuration.director,
            "sd": configuration.storage_daemon,
            "fd": configuration.file_daemon,
            "console": configuration.console,
        }
        for name, writer in writers.items():
            self._configuration_file(name).write_text(writer(self))

    def reload(self):
        """Write filesets and jobs anew and make the Director read them."""
        self.write_configuration()
        return self.console("reload")

    # Jobs

    def run(self, job, level="Full", wait=True, timeout=PATIENCE):
        """Start a backup; its JobResult, or its job id if not to wait."""
        self.await_later_second(job)
        output = self.console(f"run job={job} level={level} yes")
        match = re.search(_JOB_STARTED, output)
        if not match:
            raise Failure(f"the Director started no job:\n{output}")
        jobid = int(match.group(1))
        return self.wait(jobid, timeout) if wait else jobid

    def run_all(self, jobs, level="Full"):
        """Start a backup of each job at once; their job ids in the same order."""
        output = self.console("\n".join(f"run job={job} level={level} yes" for job in jobs))
        jobids = [int(jobid) for jobid in re.findall(_JOB_STARTED, output)]
        if len(jobids) != len(jobs):
            raise Failure(f"the Director did not start every job:\n{output}")
        return jobids

    def wait(self, jobid, timeout=PATIENCE, reported=True):
        """Wait until a job has ended and its log is complete.

        A Director that was killed writes no report for the jobs that it had: reported=False.
        """
        try:
            wait_until(lambda: self._ended(jobid, reported), timeout, f"job {jobid}")
        except Failure as failure:
            raise Failure(f"{failure}; its log:\n{self.joblog(jobid)}") from None
        return self._result(jobid)

    def joblog(self, jobid):
        """The job's messages so far."""
        return self.catalog.log(jobid)

    def cancel(self, jobid, heard=None):
        """Ask the Director to cancel a job; heard() is called when the File Daemon knows."""
        with self.dialogue() as console:
            console.send(f"cancel jobid={jobid} yes")
            if heard:
                console.expect(r"2001 Job .* marked to be canceled")
                heard()
            return console.finish()

    def limit_bandwidth(self, limit=None):
        """Let backups that start from now on send so much, such as "1 mb/s"; None is no limit."""
        self._bandwidth_lines = [f"Maximum Bandwidth = {limit}"] if limit else []
        self.reload()

    def set_job_lines(self, *lines):
        """Let backup jobs have these lines from now on."""
        self._extra_job_lines = list(lines)
        self.reload()

    def delete_job(self, jobid):
        """Remove a job from the catalog."""
        return self.console(f"delete jobid={jobid} yes")

    def restore(
        self,
        jobids,
        where,
        files=None,
        replace="always",
        plugin_options=None,
        wait=True,
        timeout=PATIENCE,
    ):
        """Restore jobs below where; the result holds the console transcript.

        files are selected in the restore tree rather than with file=..., which
        would take the newest part of a delta sequence only.
        """
        with self.dialogue() as console:
            console.send(
                f"restore jobid={','.join(map(str, _as_list(jobids)))} client=fd "
                f"restorejob=RestoreFiles where={where} replace={replace}"
                f"{'' if files else ' all done'}"
            )
            if files:
                restore_dialogue.select(console, files)
            restore_dialogue.configure(console, plugin_options or {})
            console.send("yes")
            jobid = int(console.expect(_JOB_STARTED).group(1))
            transcript = console.finish()
        if not wait:
            return jobid
        return replace_in(self.wait(jobid, timeout), transcript=transcript)

    def restore_exactly(self, jobids, where, leave_out=(), timeout=PATIENCE):
        """Restore jobs in this order, past the Director's own check of their parts.

        leave_out are pairs (job id, path) of files that are not sent.
        """
        bootstrap = self.folder / "restore.bsr"
        bootstrap.write_text(self.catalog.bootstrap(_as_list(jobids), leave_out))
        output = self.console(
            f"run job=RestoreFiles client=fd bootstrap={bootstrap} where={where} yes"
        )
        match = re.search(_JOB_STARTED, output)
        if not match:
            raise Failure(f"the Director started no restore:\n{output}")
        return self.wait(int(match[1]), timeout)

    def estimate(self, job, level="Full", listing=False):
        """Output of the estimate command."""
        return self.console(f"estimate job={job} level={level}{' listing' if listing else ''}")

    def ls(self, plugin_line, path):
        """Output of the listing command that asks a plugin."""
        return self.console(f".ls client=fd plugin={configuration.quoted(plugin_line)} path={path}")

    def query(self, plugin_line, parameter):
        """Output of the query command (Bacula 11 and later)."""
        return self.console(
            f".query client=fd plugin={configuration.quoted(plugin_line)} parameter={parameter}"
        )

    def list_files(self, jobid):
        """What a job saved: a list of SavedFile."""
        return self.catalog.files(jobid)

    def console(self, text, timeout=PATIENCE):
        """Feed bconsole some commands; return all it printed."""
        with self.dialogue(timeout) as console:
            console.send(text)
            return console.finish()

    # Inside

    def _grace(self, daemon):
        """Seconds to end by itself: a leak check needs some."""
        return PATIENCE if daemon == "fd" and (self.fd_wrapper or self._sanitized) else 10

    def _environment(self):
        return {"LD_LIBRARY_PATH": str(self.root / "usr/lib/bacula")}

    def _make_folders(self):
        for name in ("dir", "sd", "plugins", "volumes"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self.fd_working.mkdir(mode=0o700, exist_ok=True)
        (self.folder / "query.sql").touch()

    def _install_plugin(self):
        # A copy, since Bacula passes over symbolic links; alone in its folder,
        # since Bacula loads every plugin it finds there.
        for plugin in ([self.plugin] if self.plugin else []) + self._more_plugins:
            shutil.copy(plugin, self.folder / "plugins")
        # Beside it lies the program that it starts; the one with sanitizers has none of its own.
        for folder in self.plugin.parents[:2] if self.plugin else []:
            if (folder / "qemu-fd-helper").exists():
                shutil.copy(folder / "qemu-fd-helper", self.folder / "plugins")
                break

    def _make_catalog(self):
        scripts = self.root / "usr/share/dbconfig-common/data/bacula-director-sqlite3"
        Catalog.create(self.folder / "dir" / "bacula.db", scripts / "install/sqlite3")

    def _configuration_file(self, name):
        return self.folder / f"{name}.conf"

    @property
    def _quick_queue(self):
        return self.folder / "quick_queue.so"

    def _launch(self, daemon):
        # Debug output without -T goes to standard output, hence to the log,
        # and not into a trace file in the working directory.
        argv = [self.root / f"usr/sbin/bacula-{daemon}", "-f", "-P"]
        environment = self._environment()
        if daemon == "dir":
            environment["LD_PRELOAD"] = str(self._quick_queue)
        if daemon == "fd":
            environment |= self._fd_env
            if self._sanitized:
                preloaded = environment.get("LD_PRELOAD", "")
                argv = [*sanitizer.wrapper(self.folder, preloaded), *argv]
            argv = [*self.fd_wrapper, *argv]
            if self._fd_debug:
                argv += ["-d", self._fd_debug, "-dt"]
        argv += ["-c", self._configuration_file(daemon)]
        self._processes[daemon] = spawn(argv, self.folder / f"{daemon}.log", environment)

    def _wait_ready(self, daemon):
        def ready():
            if self._processes[daemon].poll() is not None:
                log = (self.folder / f"{daemon}.log").read_text(errors="replace")
                raise Failure(f"bacula-{daemon} did not start:\n{log}")
            return _listens(self.ports[daemon])

        wait_until(ready, PATIENCE, f"bacula-{daemon} to listen", interval=0.01)

    def _start_one(self, daemon):
        self._launch(daemon)
        self._wait_ready(daemon)

    def _kill(self, daemon, number):
        process = self._processes[daemon]
        kill_group(process, number)
        # A daemon interrupted inside malloc may never finish its clean-up.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(self._grace(daemon))
        stop(process)

    def dialogue(self, timeout=PATIENCE):
        """A Console, for what asks back."""
        # -n: no line editing, prompts as they are.
        argv = [self.root / "usr/sbin/bconsole", "-n", "-c", self._configuration_file("console")]
        return Console(argv, {**os.environ, **self._environment()}, timeout)

    def await_later_second(self, job):
        """Let no job start in the second in which the last one of its resource started or ended.

        The Director looks for the last good job by its start, and puts the parts of
        a restore in order by the end; the catalog keeps both in seconds, and of two
        jobs of one second it may take either for the first; Accurate mode's list holds
        jobs that ended in an earlier second only.
        """
        wait_until(
            lambda: int(time.time()) > self.catalog.last_second(job), PATIENCE, "a later second", interval=0.02
        )

    def _ended(self, jobid, reported):
        """Whether a job is over.

        The status is final before the last messages are in the catalog, so the
        report's last line is waited for as well.
        """
        row = self.catalog.job(jobid)
        if not row or row.status not in FINAL_STATUS:
            return False
        return not reported or "Termination:" in self.catalog.log(jobid)

    def _result(self, jobid):
        row = self.catalog.job(jobid)
        return JobResult(
            jobid=row.jobid,
            name=row.unique_name,
            status=row.status,
            level=row.level,
            files=row.files,
            bytes=row.bytes,
            log=self.catalog.log(jobid),
            errors=row.errors,
        )


def _as_list(value):
    return list(value) if isinstance(value, (list, tuple, set)) else [value]


def _listens(port):
    """Whether somebody listens on a port, without connecting to it.

    A connection that says nothing would end up as an error in Bacula's log.
    """
    listening = f":{port:04X} 00000000:0000 0A"
    return listening in Path("/proc/net/tcp").read_text()

