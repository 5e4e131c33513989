"""One Bacula for many faults, prepared so that a job can be stopped at any moment."""

import re
import shutil

from harness.bacula import Bacula
from harness.image_tool import ImageTool
from harness.link import Link
from harness.preload import BrokenStorage, ShiftedClock

_HOLD = """cd {folder}
[ ! -e hold ] || : >held
while [ -e hold ]; do sleep 0.02; done
echo done
"""


class LastFile:
    """A file that comes behind all of a guest's and that can keep its job waiting.

    It is bpipe's, Bacula's own plugin: the daemon is in the middle of a job whose
    guests have been saved.
    """

    def __init__(self, folder):
        self._folder = folder
        folder.mkdir()
        self._script = folder / "last.sh"
        self._script.write_text(_HOLD.format(folder=folder))

    @property
    def line(self):
        """The Plugin line."""
        return f"bpipe:/@last/file:sh {self._script}:sh -c 'cat >/dev/null'"

    def hold(self):
        """Let the next job wait there."""
        (self._folder / "held").unlink(missing_ok=True)
        (self._folder / "hold").touch()

    def is_held(self):
        """Whether a job waits."""
        return all((self._folder / name).exists() for name in ("hold", "held"))

    def release(self):
        """Let jobs end."""
        (self._folder / "hold").unlink(missing_ok=True)


class Stage:
    """The daemons, and everything that holds a job at a moment.

    With preloaded the File Daemon's clock can be set back and its storage break.
    """

    def __init__(self, root, plugin, folder, preloaded=False):
        self.folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.tool = ImageTool(folder / "tool")
        self.link = Link()
        self.last = LastFile(folder / "last")
        self.clock = ShiftedClock(folder)
        self.storage = BrokenStorage(folder)
        special = _together(self.clock.environment, self.storage.environment) if preloaded else {}
        self.bacula = Bacula(
            root,
            folder / "bacula",
            plugin=plugin,
            filesets={"none": [folder / "last"]},
            fd_env={**self.tool.environment, **special},
            more_plugins=[root / "usr/lib/bacula/bpipe-fd.so"],
            link=self.link,
        )
        self._scenes = 0

    def __enter__(self):
        self.bacula.start()
        return self

    def __exit__(self, *_):
        self.reset()
        self.bacula.stop()
        self.link.close()

    def reset(self):
        """Hold nothing any more."""
        self.tool.reset()
        self.link.release()
        self.last.release()
        self.clock.set(0)
        self.storage.mend()

    def add_job(self, line, name="VM", last=True):
        """A Job resource with this Plugin line and (last) the last file behind it; its name."""
        self._scenes += 1
        job = f"{name}-{self._scenes}"
        self.bacula.filesets = {**self.bacula.filesets, job: [line, *([self.last.line] if last else [])]}
        self.bacula.jobs = {**self.bacula.jobs, job: job}
        self.bacula.reload()
        return job

    def leftovers(self):
        """What no job may leave in the daemon's working directory."""
        return [path for path in self.bacula.fd_leftovers() if "qemu-fd-" in str(path)]


def own_lines(log):
    """What the plugin said in a job's log: pairs of kind ("" for information) and text."""
    return re.findall(
        r"^fd JobId \d+: (?:(Fatal error|Error|Warning): )?qemu: (.*)", log, re.M
    )


def own_errors(log):
    """The plugin's lines that are errors: one tells what, where and why."""
    return [text for kind, text in own_lines(log) if kind in ("Fatal error", "Error")]


def _together(*environments):
    """One environment that preloads what each of them does."""
    libraries = ":".join(environment["LD_PRELOAD"] for environment in environments)
    merged = {name: value for each in environments for name, value in each.items()}
    return {**merged, "LD_PRELOAD": libraries}
