"""The examples of the Director's configuration, read by real Directors beside Debian's own."""

from pathlib import Path

import pytest
from harness.catalog import Catalog
from harness.process import Failure, run

_EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples").glob("*.conf"))

# What Debian's packages fill in when they are installed.
_FILLED_IN = {
    "@debian_basename@": "here",
    "XXX_DBNAME_XXX": "bacula",
    "XXX_DBUSER_XXX": "",
    "XXX_DBPASSWORD_XXX": "",
    "/etc/bacula/scripts/query.sql": "{folder}/query.sql",
    "/var/lib/bacula": "{folder}",
    "/run/bacula": "{folder}",
}


def _debians_configuration(bacula_root, folder):
    template = bacula_root / "usr/share/bacula-common/defconfig/bacula-dir.conf"
    text = template.read_text()
    for placeholder, value in _FILLED_IN.items():
        assert placeholder in text
        text = text.replace(placeholder, value.format(folder=folder))
    return text


@pytest.fixture
def check(bacula_root, workdir):
    """Let a Director check Debian's configuration with more files; what it printed."""
    schema = bacula_root / "usr/share/dbconfig-common/data/bacula-director-sqlite3/install/sqlite3"
    Catalog.create(workdir / "bacula.db", schema)
    (workdir / "query.sql").touch()
    configuration = workdir / "bacula-dir.conf"

    def check(*files):
        included = "".join(f"@{path}\n" for path in files)
        configuration.write_text(_debians_configuration(bacula_root, workdir) + included)
        return run(
            [bacula_root / "usr/sbin/bacula-dir", "-t", "-c", configuration],
            env={"LD_LIBRARY_PATH": str(bacula_root / "usr/lib/bacula"), "PATH": "/usr/bin:/bin"},
        )

    return check


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
