"""The examples of the Director's configuration, read by real Directors beside Debian's own."""

from pathlib import Path

import pytest
from harness.director_check import director_check
from harness.process import Failure

_EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples").glob("*.conf"))


@pytest.fixture
def check(bacula_root, workdir):
    """Let a Director check Debian's configuration with more files; what it printed."""
    return lambda *files: director_check(bacula_root, workdir, *(f"@{path}" for path in files), "")


def test_the_director_takes_them(check):
    assert [path.name for path in _EXAMPLES] == ["proxmox.conf", "qemu.conf"]
    for example in _EXAMPLES:
        check(example)
    check(*_EXAMPLES)


@pytest.mark.parametrize(
    "right, wrong, says",
    [
        ("JobDefs =", "JobDef =", 'Keyword "JobDef" not permitted'),
        ('Schedule = "Guests"', 'Schedule = "Elsewhere"', "Could not find config"),
    ],
    ids=["keyword", "name"],
)
def test_the_director_would_say_what_is_wrong(check, workdir, right, wrong, says):
    """Such as a keyword or a name: the test above can fail."""
    text = (_EXAMPLES[-1]).read_text()
    assert right in text
    broken = workdir / "broken.conf"
    broken.write_text(text.replace(right, wrong))
    with pytest.raises(Failure) as refused:
        check(broken)
    assert says in str(refused.value)
