"""Configuration files of a private Bacula, written for speed and isolation."""

from textwrap import indent

PASSWORD = "harness"

# One job per device and per volume: a restore never waits for a volume that a
# running backup is still appending to, and a backup never waits for another.
DEVICES = 12
SECOND_DEVICES = 4


def resource(kind, *lines, **directives):
    """One resource in Bacula's syntax; words in names are joined by '_'."""
    body = [f"{name.replace('_', ' ')} = {value}" for name, value in directives.items()]
    return kind + " {\n" + indent("\n".join([*body, *lines]), "  ") + "\n}\n"


def quoted(text):
    """A string as Bacula's lexer reads it."""
    return '"' + str(text).replace("\\", "\\\\").replace('"', '\\"') + '"'


def fileset(name, entries, options, lines=()):
    """A FileSet whose entries are plain paths or Plugin lines; lines are its own directives."""
    included = [resource("Options", *options)]
    for entry in entries:
        directive = "File" if str(entry).startswith("/") else "Plugin"
        included.append(f"{directive} = {quoted(entry)}")
    return resource("FileSet", *lines, resource("Include", *included), Name=quoted(name))


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


def _second_pool(bacula):
    """What VirtualFull, Copy, Migration and Verify jobs need: where they write to, and the jobs."""
    first = quoted(next(iter(bacula.jobs)))
    shared = {"Client": "fd", "FileSet": quoted(next(iter(bacula.filesets))), "Storage": "disk",
              "Pool": "Full", "Messages": "Standard", "Maximum_Concurrent_Jobs": "20"}
    chosen = {"Selection_Type": "Job", "Selection_Pattern": first}
    verified = {"Type": "Verify", "Verify_Job": first}
    return [
        resource(
            "Storage",
            Name="second",
            Address="127.0.0.1",
            SDPort=bacula.ports["sd"],
            Password=PASSWORD,
            Device="second",
            Autochanger="yes",
            Media_Type="Second",
            Maximum_Concurrent_Jobs=bacula.max_concurrent,
        ),
        resource(
            "Pool",
            Name="Second",
            Pool_Type="Backup",
            Storage="second",
            Label_Format='"second-"',
            Maximum_Volume_Jobs="1",
            AutoPrune="no",
            Recycle="no",
        ),
        resource("Job", Name="Copy", Type="Copy", **chosen, **shared),
        resource("Job", Name="Migrate", Type="Migrate", **chosen, **shared),
        resource("Job", Name="VerifyVolume", Level="VolumeToCatalog", **verified, **shared),
        resource("Job", Name="VerifyData", Level="Data", **verified, **shared),
    ]


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
                Maximum_Volume_Jobs="0" if bacula.interleaved else "1",
                AutoPrune="no",
                Recycle="no",
                **({"Next_Pool": "Second"} if bacula.second_pool else {}),
            ),
            *(_second_pool(bacula) if bacula.second_pool else ()),
            _director_messages(folder, bacula.extra_message_lines),
            *(
                fileset(name, entries, bacula.fileset_options, bacula.fileset_lines)
                for name, entries in bacula.filesets.items()
            ),
            *(
                _backup_job(name, used, bacula.accurate, bacula.extra_job_lines)
                for name, used in bacula.jobs.items()
            ),
            _restore_job(next(iter(bacula.filesets)), folder / "restored"),
        ]
    )


def _changer(bacula, name, count, media_type):
    """A virtual autochanger of disk volumes."""
    drives = [f"{name}-{index}" for index in range(count)]
    return [
        resource(
            "Autochanger",
            Name=name,
            Device=", ".join(drives),
            Changer_Device="/dev/null",
            Changer_Command='""',
        ),
        *(
            resource(
                "Device",
                *bacula.extra_device_lines,
                Name=drive,
                Drive_Index=index,
                Autochanger="yes",
                Media_Type=media_type,
                Device_Type="File",
                Archive_Device=quoted(bacula.folder / "volumes"),
                LabelMedia="yes",
                Random_Access="yes",
                AutomaticMount="yes",
                RemovableMedia="no",
                AlwaysOpen="no",
                Maximum_Concurrent_Jobs="20" if bacula.interleaved else "1",
            )
            for index, drive in enumerate(drives)
        ),
    ]


def storage_daemon(bacula):
    """bacula-sd.conf."""
    folder = bacula.folder
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
            *_changer(bacula, "drives", 1 if bacula.interleaved else DEVICES, "File"),
            *(_changer(bacula, "second", SECOND_DEVICES, "Second") if bacula.second_pool else ()),
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
