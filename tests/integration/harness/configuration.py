"""Configuration files of a private Bacula, written for speed and isolation."""

from textwrap import indent

PASSWORD = "harness"

# One job per device and per volume: a restore never waits for a volume that a
# running backup is still appending to, and a backup never waits for another.
DEVICES = 12


def resource(kind, *lines, **directives):
    """One resource in Bacula's syntax; words in names are joined by '_'."""
    body = [f"{name.replace('_', ' ')} = {value}" for name, value in directives.items()]
    return kind + " {\n" + indent("\n".join([*body, *lines]), "  ") + "\n}\n"


def quoted(text):
    """A string as Bacula's lexer reads it."""
    return '"' + str(text).replace("\\", "\\\\").replace('"', '\\"') + '"'


def fileset(name, entries, options):
    """A FileSet whose entries are plain paths or Plugin lines."""
    included = [resource("Options", *options)]
    for entry in entries:
        directive = "File" if str(entry).startswith("/") else "Plugin"
        included.append(f"{directive} = {quoted(entry)}")
    return resource("FileSet", resource("Include", *included), Name=quoted(name))


def _backup_job(name, fileset_name, accurate, extra_lines):
    return resource(
        "Job",
        *extra_lines,
        Name=quoted(name),
        Type="Backup",
        Level="Incremental",
        Accurate="yes" if accurate else "no",
        Client="fd",
        FileSet=quoted(fileset_name),
        Storage="disk",
        Pool="Full",
        Messages="Standard",
        Maximum_Concurrent_Jobs="20",
    )


def _restore_job(fileset_name, where):
    return resource(
        "Job",
        Name="RestoreFiles",
        Type="Restore",
        Client="fd",
        FileSet=quoted(fileset_name),
        Storage="disk",
        Pool="Full",
        Messages="Standard",
        Maximum_Concurrent_Jobs="20",
        Where=quoted(where),
    )


def _director_messages(folder, extra_lines):
    return resource(
        "Messages",
        "catalog = all",
        f'append = "{folder}/messages.log" = all',
        *extra_lines,
        Name="Standard",
    )


def director(bacula):
    """bacula-dir.conf."""
    folder = bacula.folder
    concurrency = bacula.max_concurrent
    return "".join(
        [
            resource(
                "Director",
                Name="dir",
                DIRport=bacula.ports["dir"],
                DirAddress="127.0.0.1",
                Password=PASSWORD,
                QueryFile=quoted(folder / "query.sql"),
                WorkingDirectory=quoted(folder / "dir"),
                PidDirectory=quoted(folder / "pid"),
                # Consoles count as jobs here.
                Maximum_Concurrent_Jobs=concurrency + 10,
                Messages="Standard",
            ),
            resource("Catalog", Name="Catalog", dbname="bacula", dbuser='""', dbpassword='""'),
            resource(
                "Client",
                Name="fd",
                Address="127.0.0.1",
                FDPort=bacula.ports["fd"],
                Password=PASSWORD,
                Catalog="Catalog",
                AutoPrune="no",
                Maximum_Concurrent_Jobs=concurrency,
            ),
            resource(
                "Storage",
                Name="disk",
                Address="127.0.0.1",
                SDPort=bacula.ports["link"],  # the Storage Daemon's, or one before it
                Password=PASSWORD,
                Device="drives",
                Autochanger="yes",
                Media_Type="File",
                Maximum_Concurrent_Jobs=concurrency,
            ),
            resource(
                "Pool",
                Name="Full",
                Pool_Type="Backup",
                Label_Format='"volume-"',
                Maximum_Volume_Jobs="1",
                AutoPrune="no",
                Recycle="no",
            ),
            _director_messages(folder, bacula.extra_message_lines),
            *(
                fileset(name, entries, bacula.fileset_options)
                for name, entries in bacula.filesets.items()
            ),
            *(
                _backup_job(name, used, bacula.accurate, bacula.extra_job_lines)
                for name, used in bacula.jobs.items()
            ),
            _restore_job(next(iter(bacula.filesets)), folder / "restored"),
        ]
    )


def storage_daemon(bacula):
    """bacula-sd.conf: a virtual autochanger of disk volumes."""
    folder = bacula.folder
    drives = [f"drive-{index}" for index in range(DEVICES)]
    return "".join(
        [
            resource(
                "Storage",
                Name="sd",
                SDPort=bacula.ports["sd"],
                SDAddress="127.0.0.1",
                WorkingDirectory=quoted(folder / "sd"),
                PidDirectory=quoted(folder / "pid"),
                Maximum_Concurrent_Jobs=2 * bacula.max_concurrent,
            ),
            resource("Director", Name="dir", Password=PASSWORD),
            resource(
                "Autochanger",
                Name="drives",
                Device=", ".join(drives),
                Changer_Device="/dev/null",
                Changer_Command='""',
            ),
            *(
                resource(
                    "Device",
                    *bacula.extra_device_lines,
                    Name=name,
                    Drive_Index=index,
                    Autochanger="yes",
                    Media_Type="File",
                    Device_Type="File",
                    Archive_Device=quoted(folder / "volumes"),
                    LabelMedia="yes",
                    Random_Access="yes",
                    AutomaticMount="yes",
                    RemovableMedia="no",
                    AlwaysOpen="no",
                    Maximum_Concurrent_Jobs="1",
                )
                for index, name in enumerate(drives)
            ),
            resource("Messages", "director = dir = all", Name="Standard"),
        ]
    )


def file_daemon(bacula):
    """bacula-fd.conf."""
    # Newer versions encrypt by themselves, and then limit no bandwidth.
    plain = [] if bacula.version.startswith("9.") else ["TLS PSK Enable = no"]
    return "".join(
        [
            resource(
                "FileDaemon",
                *plain,
                *bacula.extra_fd_lines,
                Name="fd",
                FDPort=bacula.ports["fd"],
                FDAddress="127.0.0.1",
                WorkingDirectory=quoted(bacula.fd_working),
                PidDirectory=quoted(bacula.folder / "pid"),
                Plugin_Directory=quoted(bacula.folder / "plugins"),
                # A limited bandwidth should hold for the bytes of a file.
                CommCompression="no",
                Maximum_Concurrent_Jobs=bacula.max_concurrent,
            ),
            resource("Director", Name="dir", Password=PASSWORD),
            resource("Messages", f"director = dir = {bacula.fd_messages}", Name="Standard"),
        ]
    )


def console(bacula):
    """bconsole.conf."""
    return resource(
        "Director",
        Name="dir",
        DIRport=bacula.ports["dir"],
        Address="127.0.0.1",
        Password=PASSWORD,
    )
