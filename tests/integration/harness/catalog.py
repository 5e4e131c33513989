"""The catalog read directly: a bconsole for every poll would cost far more."""

import sqlite3
from collections import namedtuple
from contextlib import closing
from .process import PATIENCE

SavedFile = namedtuple("SavedFile", "path size delta_seq file_index")
JobRow = namedtuple("JobRow", "jobid unique_name status level files bytes errors")

# Letters of the Job table that mean: nothing more will happen.
FINAL_STATUS = frozenset("TWEefADI")

_BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_SIZE_FIELD = 7


def _decode_number(text):
    """A number as Bacula's catalog writes it: base 64, highest digit first."""
    value = 0
    for letter in text.lstrip("-"):
        value = value * 64 + _BASE64.index(letter)
    return -value if text.startswith("-") else value


class Catalog:
    """A Director's SQLite catalog, mostly to be read."""

    def __init__(self, path):
        self._path = path

    @staticmethod
    def create(path, schema):
        """Make an empty catalog from the schema the packages carry."""
        with closing(sqlite3.connect(path)) as database:
            database.executescript(schema.read_text())

    def _query(self, statement, *parameters):
        # A fresh connection each time: none may hold a lock that delays the
        # Director.
        name = f"file:{self._path}?mode=ro"
        with closing(sqlite3.connect(name, timeout=PATIENCE, uri=True)) as database:
            # 9.6.7's Storage Daemon may put what is no text into a message of a stopped job.
            database.text_factory = lambda text: text.decode(errors="replace")
            return database.execute(statement, parameters).fetchall()

    def ask(self, statement):
        """Rows that a statement in SQL finds."""
        return self._query(statement)

    def job(self, jobid):
        """The job's row, or None before the Director has written it."""
        rows = self._query(
            "SELECT JobId, Job, JobStatus, Level, JobFiles, JobBytes, JobErrors "
            "FROM Job WHERE JobId = ?",
            jobid,
        )
        return JobRow(*rows[0]) if rows else None

    def start_time(self, jobid):
        """When a job began, as the console shows it."""
        ((start,),) = self._query("SELECT StartTime FROM Job WHERE JobId = ?", jobid)
        return start

    def newest_job(self):
        """The highest number of a job that is there; 0 for none."""
        ((newest,),) = self._query("SELECT MAX(JobId) FROM Job")
        return newest or 0

    def last_job(self):
        """The highest number of a job until now."""
        ((last,),) = self._query("SELECT MAX(seq) FROM sqlite_sequence WHERE name = 'Job'")
        return last or 0

    def set_next_job(self, jobid):
        """Let the next job have this number, which must be above those that were."""
        assert jobid > self.last_job()
        with closing(sqlite3.connect(self._path, timeout=PATIENCE)) as database:
            known = database.execute(
                "UPDATE sqlite_sequence SET seq = ? WHERE name = 'Job'", (jobid - 1,)
            ).rowcount
            if not known:
                database.execute("INSERT INTO sqlite_sequence VALUES ('Job', ?)", (jobid - 1,))
            database.commit()

    def last_second(self, name):
        """By which a resource's jobs are put in order: the last one's begin, or its end once it has ended."""
        ((last,),) = self._query("SELECT MAX(JobTDate) FROM Job WHERE Name = ?", name)
        return last or 0

    def log(self, jobid):
        """All of the job's messages."""
        rows = self._query("SELECT LogText FROM Log WHERE JobId = ? ORDER BY LogId", jobid)
        # Bacula escapes for SQLite in a way that leaves a backslash behind.
        return "".join(text.removesuffix("\\") for (text,) in rows)

    def digests(self, jobid):
        """Path -> the signature of what the job saved, "0" for none."""
        rows = {file.file_index: file.path for file in self.files(jobid) if file.file_index > 0}
        found = self._query("SELECT FileIndex, MD5 FROM File WHERE JobId = ?", jobid)
        return {rows[index]: digest for index, digest in found if index in rows}

    def object_names(self, jobid):
        """Names of the restore objects that the job saved, in their order."""
        rows = self._query(
            "SELECT ObjectName FROM RestoreObject WHERE JobId = ? ORDER BY FileIndex", jobid
        )
        return [name for (name,) in rows]

    def bootstrap(self, jobids, leave_out=()):
        """Text that makes a restore read jobs, in this order and whatever is missing.

        leave_out are pairs (job id, path) of files that it does not read.
        """
        text = ""
        for jobid in jobids:
            rows = self._query(
                "SELECT DISTINCT VolumeName, MediaType, VolSessionId, VolSessionTime FROM Job "
                "JOIN JobMedia USING (JobId) JOIN Media USING (MediaId) WHERE JobId = ?",
                jobid,
            )
            for volume, media_type, session, time in rows:
                text += f'Volume="{volume}"\nMediaType="{media_type}"\n'
                text += f"VolSessionId={session}\nVolSessionTime={time}\n"
                indices = [
                    file.file_index
                    for file in self.files(jobid)
                    if file.file_index and (jobid, file.path) not in leave_out
                ]
                text += "".join(f"FileIndex={index}\n" for index in indices)
                text += f"Count={len(indices)}\n"
        return text

    def files(self, jobid):
        """What the job saved, in the order of saving."""
        columns = {row[1] for row in self._query("PRAGMA table_info(File)")}
        # 9.6.7 keeps file names in a table of their own.
        name, join = (
            ("File.Filename", "")
            if "Filename" in columns
            else ("Filename.Name", "JOIN Filename USING (FilenameId)")
        )
        rows = self._query(
            f"SELECT Path || {name}, LStat, DeltaSeq, FileIndex FROM File "
            f"JOIN Path USING (PathId) {join} WHERE JobId = ? ORDER BY FileIndex",
            jobid,
        )
        return [
            SavedFile(path, _decode_number(lstat.split()[_SIZE_FIELD]), delta_seq, index)
            for path, lstat, delta_seq, index in rows
        ]
