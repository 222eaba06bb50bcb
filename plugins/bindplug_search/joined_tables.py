"""What metadata tables gave to files when they were last read, so that an update finds what changed in a table.

For each folder that was added with a table, and for each table of files that were added one by one, there is a file
``joined-….json`` in the index's directory. A value that the table has not changed since is not written again, so that
what was set otherwise stays.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bindplug.files import write_whole
from bindplug.indexes import MetadataValue
from bindplug_search.manifest import Folder
from bindplug_search.metadata import Changes, Metadata, present

NAME = "joined-{}.json"


@dataclass
class JoinedTable:
    """A metadata table as it was when it was last joined.

    Args:
        record: the file that keeps this.
        table: the table, absolute.
        directory: the working directory then, in which the table's relative paths were looked for.
        files: for the digest of each file that was joined, the values that the table had for it.
    """

    record: Path
    table: str
    directory: str
    files: dict[str, Metadata] = field(default_factory=dict)

    def changes(self, digest: str, row: Changes, values: Mapping[str, MetadataValue]) -> Changes:
        """What the table has changed for a file since: new values, and None for those that are gone.

        Args:
            digest: of the file.
            row: its row of the table now; empty if it has none.
            values: for all files, which take the place of those that are gone.
        """
        before = self.files.get(digest, {})
        keys = dict.fromkeys([*before, *row])
        changed = {key: row.get(key) for key in keys if _differ(before.get(key), row.get(key))}
        return {key: values.get(key) if value is None else value for key, value in changed.items()}

    def gone(self, digest: str, row: Changes, values: Mapping[str, MetadataValue]) -> Changes:
        """None, or the value for all files, for what the table had for a file before and has no longer."""
        return {key: values.get(key) for key in self.files.get(digest, {}) if key not in row}

    def begin(self, digests: Iterable[str] = ()) -> None:
        """Note where relative paths are looked for, and which files are joined, before any of them gets metadata.

        After a kill an update then joins the whole table.

        Raises:
            OSError: it cannot be written.
        """
        self.directory = str(Path.cwd())
        self.files = {**{digest: {} for digest in digests}, **self.files}
        self.write()

    def keep(self, rows: Mapping[str, Changes]) -> None:
        """Keep what the table has given to these files by their digests, beside what it gave to others before.

        Raises:
            OSError: it cannot be written.
        """
        self.files = {**self.files, **{digest: present(row) for digest, row in rows.items()}}
        self.write()

    def write(self) -> None:
        """Put it in place of the one before.

        Raises:
            OSError: it cannot be written.
        """
        values = {"table": self.table, "directory": self.directory, "files": self.files}
        write_whole(self.record, json.dumps(values).encode("ascii"))


def folder_record(index: Path, folder: Folder) -> Path:
    """The file that keeps what the table of a folder gave."""
    return index / NAME.format(_digest("folder", folder.path, folder.patterns))


def table_record(index: Path, table: str) -> Path:
    """The file that keeps what a table gave to files that were added one by one."""
    return index / NAME.format(_digest("files", table))


def read_joined(record: Path, table: str) -> JoinedTable:
    """What a table gave when it was last joined; nothing if it never was, or if another table was joined then.

    A damaged file counts as absent: then the whole table is joined again.
    """
    try:
        stored = json.loads(record.read_text(encoding="utf-8"))
        if stored["table"] == table:
            files = {str(digest): dict(values) for digest, values in stored["files"].items()}
            return JoinedTable(record, table, str(stored["directory"]), files)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    return JoinedTable(record, table, str(Path.cwd()))


def forget_files(index: Path, digests: Iterable[str]) -> None:
    """Forget what tables gave to files that are removed.

    Raises:
        OSError: a record cannot be written.
    """
    gone = set(digests)
    for record in index.glob(NAME.format("*")):
        try:
            table = str(json.loads(record.read_text(encoding="utf-8"))["table"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue
        joined = read_joined(record, table)
        if gone & joined.files.keys():
            joined.files = {digest: row for digest, row in joined.files.items() if digest not in gone}
            joined.write()


def _differ(before: MetadataValue | None, now: MetadataValue | None) -> bool:
    return before != now or isinstance(before, bool) != isinstance(now, bool)  # True equals 1.0


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode("ascii")).hexdigest()[:16]
