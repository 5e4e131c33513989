"""The console's restore dialogue: choosing files and plugin options."""

import re
from pathlib import PurePosixPath

from .process import Failure

_TREE_PROMPT = r"\n(?:\x1b\S*)?\$ "
_RUN_PROMPT = r"OK to run\? \((?:y|Y)es/mod/no\): "
_PARAMETER_MENU = r"Select parameter to modify \(1-\d+\): "
_ONLY_ITEM = r"Automatically selected : .*"
_MENU_ITEM = r"^\s*(\d+): (.*?)\s*$"
_USE_PROMPT = r"Use above plugin configuration\? \((?:y|Y)es/mod/no\): "
_PLUGIN_MENU = r"Select plugin to configure \(1-(\d+)\): "

# What the console says instead of the next prompt when there is nothing to do.
_REFUSALS = (
    r"Unable to get Job record.*",
    r"No .*found.*",
    r"No files selected.*",
    r"No Restore Job.*",
    r"ERROR: .*",
    r"Can't configure.*",
    r"Job not run.*",
    r"No plugin to configure.*",
)


def _expect(console, *prompts):
    match = console.expect(*prompts, rf"(?P<refusal>{'|'.join(_REFUSALS)})")
    if match["refusal"]:
        raise Failure(f"the console refuses: {match['refusal']}\n{console.transcript}")
    return match


def _choose(console, name):
    """Pick an item of the menu that comes, by its name: numbers vary.

    The console itself picks the only item of a menu.
    """
    start = console.seen
    match = _expect(console, _PARAMETER_MENU, _ONLY_ITEM)
    if re.fullmatch(_ONLY_ITEM, match[0]):
        return
    shown = console.transcript[start : match.end()]
    for number, text in re.findall(_MENU_ITEM, shown, re.M):
        if text == name or text.startswith(f"{name} ("):
            console.send(number)
            return
    raise Failure(f"no {name!r} in the menu:\n{console.transcript}")


def select(console, files):
    """Mark single files in the restore tree and leave it."""
    _expect(console, _TREE_PROMPT)
    for file in map(PurePosixPath, files):
        console.send(f'cd "{file.parent}"')
        _expect(console, _TREE_PROMPT)
        console.send(f'mark "{file.name}"')
        _expect(console, r"(?<!No )files? marked\.")
        _expect(console, _TREE_PROMPT)
    console.send("done")


def configure(console, options):
    """Set plugin options in every plugin's form and stop before the start."""
    _expect(console, _RUN_PROMPT)
    if not options:
        return
    plugin, plugins = 1, 1
    while plugin <= plugins:
        console.send("mod")
        _choose(console, "Plugin Options")
        match = _expect(console, _PLUGIN_MENU, _USE_PROMPT)
        if match[1]:
            plugins = int(match[1])
            console.send(str(plugin))
            _expect(console, _USE_PROMPT)
        _fill_form(console, options)
        _expect(console, _RUN_PROMPT)
        plugin += 1


def _fill_form(console, options):
    for name, value in options.items():
        console.send("mod")
        _choose(console, name)
        _expect(console, rf"Please enter a value for {re.escape(name)}: ")
        console.send(value)
        _expect(console, _USE_PROMPT)
    console.send("yes")
