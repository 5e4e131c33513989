"""What a daemon's own check says of a configuration beside Debian's."""

from .catalog import Catalog
from .process import run

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


def director_check(bacula_root, folder, *more):
    """Let bacula-dir -t read Debian's bacula-dir.conf and this text; a Failure when it refuses."""
    scripts = bacula_root / "usr/share/dbconfig-common/data/bacula-director-sqlite3"
    database = folder / "bacula.db"
    if not database.exists():
        Catalog.create(database, scripts / "install/sqlite3")
        (folder / "query.sql").touch()
    text = (bacula_root / "usr/share/bacula-common/defconfig/bacula-dir.conf").read_text()
    for placeholder, value in _FILLED_IN.items():
        assert placeholder in text, f"Debian's configuration has no {placeholder} any more"
        text = text.replace(placeholder, value.format(folder=folder))
    configuration = folder / "bacula-dir.conf"
    configuration.write_text("\n".join([text, *more]))
    return run(
        [bacula_root / "usr/sbin/bacula-dir", "-t", "-c", configuration],
        env={"LD_LIBRARY_PATH": str(bacula_root / "usr/lib/bacula"), "PATH": "/usr/bin:/bin"},
    )


def file_daemon_check(bacula_root, folder, *more):
    """Let bacula-fd -t read Debian's bacula-fd.conf with these lines in its own resource; a Failure when it refuses."""
    text = (bacula_root / "usr/share/bacula-common/defconfig/bacula-fd.conf").read_text()
    for placeholder, value in {**_FILLED_IN, "/usr/lib/bacula": str(folder)}.items():
        text = text.replace(placeholder, value.format(folder=folder))
    assert "\nFileDaemon {" in text
    configuration = folder / "bacula-fd.conf"
    configuration.write_text("\n".join([*text.replace("\nFileDaemon {", "\nFileDaemon {\n" + "\n".join(more)).splitlines(), ""]))
    return run(
        [bacula_root / "usr/sbin/bacula-fd", "-t", "-c", configuration],
        env={"LD_LIBRARY_PATH": str(bacula_root / "usr/lib/bacula"), "PATH": "/usr/bin:/bin"},
    )
