"""Tests hold on a busy machine: of what only has to happen at all nobody is in a hurry."""

import ast
from pathlib import Path

_LEAST = 60
_FOLDER = Path(__file__).parent
# On purpose: these waits are in vain.
_IN_VAIN = {("test_harness.py", "wait"), ("test_harness.py", "assert_clean"), ("test_proxmox_fake.py", "Client")}
_LIMITS = {"timeout", "patience"}


def _limits(call):
    """Seconds that a call is given, where they are a plain number."""
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    given = [keyword.value for keyword in call.keywords if keyword.arg in _LIMITS]
    if name == "wait_until":
        given += call.args[1:2]
    return [(name, value.value) for value in given
            if isinstance(value, ast.Constant) and isinstance(value.value, (int, float))]


def test_nobody_is_in_a_hurry():
    """A bound that the product promises is measured by harness/pace.py."""
    hasty = []
    for path in sorted(_FOLDER.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            for name, seconds in _limits(node) if isinstance(node, ast.Call) else ():
                if seconds < _LEAST and (path.name, name) not in _IN_VAIN:
                    hasty.append(f"{path.name}:{node.lineno}: {name} waits for {seconds} s")
    assert hasty == []
