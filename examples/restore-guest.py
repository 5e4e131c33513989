"""Restores a guest by bconsole without asking anybody, with the plugin's restore options filled in.

    python3 restore-guest.py [OPTION=VALUE]… -- RESTORE COMMAND [-- BCONSOLE COMMAND]

    python3 restore-guest.py convdestination=yes -- fileset=VM1 where=/ select current all done
    python3 restore-guest.py storage=local-lvm -- fileset=Proxmox where=/ jobid=3,7,8 all done -- \\
        bconsole -c /etc/bacula/bconsole.conf

The restore command is what would stand behind "restore" in bconsole, with all that it
would ask for (client=, restorejob= where there are several) and `all done` at its end.
Bacula takes the plugin's options nowhere but in a menu, whose numbers differ with its
version and with the number of Plugin lines; this reads the menus.  Each Plugin line
whose form has an option gets it.  The job is waited for and its log shown; the exit
status is 0 for a restore that ended well and without errors.  For Bacula 9.6 and later;
needs nothing but Python.
"""

import os
import re
import select
import subprocess
import sys

_PATIENCE = 300  # seconds for the console's next question

_RUN = r"OK to run\? \([Yy]es/mod/no\): $"
_PARAMETERS = r"Select parameter to modify \(1-\d+\): $"
_PLUGINS = r"Select plugin to configure \(1-(?P<lines>\d+)\): $"
_FORM = r"Use above plugin configuration\? \([Yy]es/mod/no\): $"
_VALUE = r"Please enter a value for \S+: $"
_STARTED = r"Job queued\. JobId=(?P<job>\d+)"


class Console:
    """A bconsole whose questions are read before they are answered."""

    def __init__(self, command):
        self._process = subprocess.Popen(  # pylint: disable=consider-using-with
            [*command, "-n"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self.said = ""  # since the last answer

    def answer(self, line, *questions):
        """Type a line and wait for one of the questions; its match."""
        self.said = ""
        try:
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            sys.exit("bconsole went away")
        while True:
            for question in questions:
                if match := re.search(question, self.said):
                    return match
            if not select.select([self._process.stdout], [], [], _PATIENCE)[0]:
                sys.exit(f"{self.said}\nbconsole asks something else, or nothing at all")
            text = os.read(self._process.stdout.fileno(), 65536)
            if not text:
                sys.exit(f"{self.said}\nbconsole ended")
            self.said += text.decode(errors="replace")

    def choose(self, name, *questions):
        """Pick the item of the menu that was just shown."""
        for number, text in re.findall(r"^\s*(\d+): (.*?)\s*$", self.said, re.M):
            if text == name or text.startswith(f"{name} ("):
                return self.answer(number, *questions)
        sys.exit(f"{self.said}\nthere is no {name} to choose")

    def run(self, line):
        """A command that asks nothing; what it says."""
        self.answer(f"{line}\n@echo --end--", r"--end-- \n")
        return self.said.partition("@echo")[0]

    def close(self):
        """Let it end."""
        self._process.stdin.close()
        self._process.wait()


def fill_form(console, options):
    """Set what the form has of the options and leave it; the names of those."""
    names = [name for name in options if re.search(rf"^{re.escape(name)}: ", console.said, re.M)]
    for name in names:
        question = console.answer("mod", _PARAMETERS, _VALUE)
        if question.re.pattern == _PARAMETERS:  # a single option is not asked for
            console.choose(name, _VALUE)
        console.answer(options[name], _FORM)
    console.answer("yes", _RUN)
    return names


def configure(console, options):
    """Fill in the form of every Plugin line."""
    line, lines, done = 1, 1, set()
    while line <= lines:
        console.answer("mod", _PARAMETERS)
        match = console.choose("Plugin Options", _PLUGINS, _FORM, r"No plugin to configure")
        if match.groupdict().get("lines"):
            lines = int(match["lines"])
            console.answer(str(line), _FORM)
        elif not match.re.pattern == _FORM:
            sys.exit("nothing that this plugin saved is among what would be restored")
        done.update(fill_form(console, options))
        line += 1
    if missing := set(options) - done:
        sys.exit(f"no Plugin line has the restore option {', '.join(sorted(missing))}; nothing was restored")


def read_arguments(words):
    """(options, restore command, bconsole command)."""
    parts = [[]]
    for word in words:
        if word == "--":
            parts.append([])
        else:
            parts[-1].append(word)
    if len(parts) not in (2, 3) or not parts[1] or not all("=" in option for option in parts[0]):
        sys.exit(__doc__)
    options = dict(option.split("=", 1) for option in parts[0])
    return options, " ".join(parts[1]), parts[2] if len(parts) == 3 else ["bconsole"]


def main():
    """Restores."""
    options, command, bconsole = read_arguments(sys.argv[1:])
    console = Console(bconsole)
    console.answer(f"restore {command}", _RUN)
    if options:
        configure(console, options)
    job = console.answer("yes", _STARTED)["job"]
    console.run(f"wait jobid={job}")
    print(console.run(f"list joblog jobid={job}"))
    row = console.run(f"llist jobid={job}")
    console.close()
    sys.exit(0 if re.search(r"JobStatus: +T\b", row, re.I) and re.search(r"JobErrors: +0\b", row, re.I) else 1)


if __name__ == "__main__":
    main()
