"""The SQLite file of a case table: its marks, its schema, how it is opened and how it is changed."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from lvedge.casetable.tree import MAX_AXES, create_tree, is_shadow
from lvedge.errors import CaseTableError

APPLICATION_ID = 0x4C564354
"""``PRAGMA application_id`` of a case table: the letters LVCT."""

CHECKED_AT_OPENING_BYTES = 4 << 20
"""Files up to this size are sealed, or checked whole when opened; larger ones by ``lvedge-cases check``."""

_UNSEALED = hashlib.sha256(b"a case table that is not sealed yet").digest()
_MAGIC = b"SQLite format 3\x00"
_WRITING_CACHE_KIB = 64 << 10


@dataclass(frozen=True)
class Migration:
    """One step of the schema; ``user_version`` of the file is the number of the last one."""

    number: int
    name: str
    statements: tuple[str, ...]


# CHECK constraints say what STRICT tables would: those need SQLite 3.37, and Python 3.10 runs on older ones.
MIGRATIONS: tuple[Migration, ...] = (
    Migration(
        1,
        "rules and reference cases",
        (
            """CREATE TABLE migration (
                number INTEGER PRIMARY KEY,
                name TEXT NOT NULL CHECK (typeof(name) = 'text')
            )""",
            """CREATE TABLE meta (
                key TEXT PRIMARY KEY NOT NULL CHECK (typeof(key) = 'text'),
                value TEXT NOT NULL CHECK (typeof(value) = 'text')
            )""",
            """CREATE TABLE rule (
                number INTEGER PRIMARY KEY CHECK (number > 0),
                scope TEXT NOT NULL CHECK (scope IN ('frame', 'cycle')),
                phase TEXT NOT NULL CHECK (phase IN ('any', 'systole', 'diastole')),
                sex TEXT NOT NULL CHECK (sex IN ('any', 'F', 'M')),
                min_age INTEGER CHECK (typeof(min_age) IN ('null', 'integer')),
                max_age INTEGER CHECK (typeof(max_age) IN ('null', 'integer')),
                level TEXT NOT NULL CHECK (level IN ('any', 'mid')),
                modality TEXT NOT NULL CHECK (modality IN ('any', 'MR', 'echo')),
                case_name TEXT NOT NULL CHECK (typeof(case_name) = 'text' AND case_name <> ''),
                label TEXT NOT NULL CHECK (typeof(label) = 'text' AND label <> ''),
                severity INTEGER NOT NULL CHECK (severity IN (0, 1, 2, 3)),
                source TEXT NOT NULL CHECK (typeof(source) = 'text' AND source <> ''),
                caveat TEXT NOT NULL CHECK (typeof(caveat) = 'text')
            )""",
            """CREATE TABLE condition (
                rule INTEGER NOT NULL REFERENCES rule (number) ON DELETE CASCADE,
                value TEXT NOT NULL CHECK (typeof(value) = 'text'),
                lower REAL CHECK (typeof(lower) IN ('null', 'real')),
                lower_inclusive INTEGER NOT NULL CHECK (lower_inclusive IN (0, 1)),
                upper REAL CHECK (typeof(upper) IN ('null', 'real')),
                upper_inclusive INTEGER NOT NULL CHECK (upper_inclusive IN (0, 1)),
                PRIMARY KEY (rule, value),
                CHECK (lower IS NOT NULL OR upper IS NOT NULL)
            )""",
            """CREATE TABLE feature (
                position INTEGER PRIMARY KEY CHECK (position >= 0),
                name TEXT NOT NULL UNIQUE CHECK (typeof(name) = 'text'),
                mean REAL NOT NULL CHECK (typeof(mean) = 'real'),
                sd REAL NOT NULL CHECK (typeof(sd) = 'real' AND sd > 0),
                weight REAL NOT NULL CHECK (typeof(weight) = 'real' AND weight > 0)
            )""",
            """CREATE TABLE reference_group (
                case_name TEXT PRIMARY KEY NOT NULL CHECK (typeof(case_name) = 'text' AND case_name <> ''),
                label TEXT NOT NULL CHECK (typeof(label) = 'text' AND label <> ''),
                severity INTEGER NOT NULL CHECK (severity IN (0, 1, 2, 3)),
                source TEXT NOT NULL CHECK (typeof(source) = 'text' AND source <> ''),
                caveat TEXT NOT NULL CHECK (typeof(caveat) = 'text')
            )""",
            """CREATE TABLE reference (
                number INTEGER PRIMARY KEY CHECK (number > 0),
                case_name TEXT NOT NULL REFERENCES reference_group (case_name)
            )""",
            """CREATE TABLE reference_value (
                reference INTEGER NOT NULL REFERENCES reference (number) ON DELETE CASCADE,
                position INTEGER NOT NULL REFERENCES feature (position),
                value REAL NOT NULL CHECK (typeof(value) = 'real'),
                PRIMARY KEY (reference, position)
            )""",
        ),
    ),
    Migration(
        2,
        "trees over rules and reference cases",
        (
            """CREATE TABLE rule_set (
                number INTEGER PRIMARY KEY CHECK (number > 0),
                scope TEXT NOT NULL CHECK (scope IN ('frame', 'cycle')),
                sex_specific INTEGER NOT NULL CHECK (sex_specific IN (0, 1))
            )""",
            """CREATE TABLE rule_axis (
                rule_set INTEGER NOT NULL REFERENCES rule_set (number),
                axis INTEGER NOT NULL CHECK (axis BETWEEN 0 AND 4),
                value TEXT NOT NULL CHECK (typeof(value) = 'text'),
                origin REAL NOT NULL CHECK (typeof(origin) = 'real'),
                scale REAL NOT NULL CHECK (typeof(scale) = 'real' AND scale > 0),
                PRIMARY KEY (rule_set, axis)
            )""",
            """CREATE TABLE rule_fallback (
                rule INTEGER PRIMARY KEY
            )""",
            """CREATE TABLE rule_entry (
                rule INTEGER PRIMARY KEY,
                checksum INTEGER NOT NULL CHECK (typeof(checksum) = 'integer'),
                entry BLOB NOT NULL CHECK (typeof(entry) = 'blob')
            )""",
            """CREATE TABLE reference_direction (
                axis INTEGER NOT NULL CHECK (axis BETWEEN 0 AND 4),
                position INTEGER NOT NULL,
                share REAL NOT NULL CHECK (typeof(share) = 'real'),
                PRIMARY KEY (axis, position)
            )""",
            """CREATE TABLE reference_page (
                number INTEGER PRIMARY KEY CHECK (number > 0),
                cases BLOB NOT NULL CHECK (typeof(cases) = 'blob')
            )""",
            create_tree("reference_tree", MAX_AXES),
            """CREATE TABLE seal (
                digest BLOB NOT NULL CHECK (typeof(digest) = 'blob')
            )""",
        ),
    ),
)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Everything inside happens, or nothing does."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def migrate(connection: sqlite3.Connection, migrations: Sequence[Migration] | None = None) -> None:
    """Brings a file up to the last migration; each one and its record are committed together.

    Args:
        connection: the file.
        migrations: the steps, in order; None takes ``MIGRATIONS``.
    """
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    for migration in MIGRATIONS if migrations is None else migrations:
        if migration.number <= version:
            continue
        with transaction(connection):
            for statement in migration.statements:
                connection.execute(statement)
            connection.execute("INSERT INTO migration VALUES (?, ?)", (migration.number, migration.name))
            connection.execute(f"PRAGMA user_version = {migration.number}")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


@contextmanager
def open_read_only(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that cannot write, to a file that is marked as a case table of this version.

    One read transaction holds from the beginning to the end: what is read never changes, and no look-up asks
    for a lock. Threads may share the connection if they take turns.

    Raises:
        CaseTableError: if it is missing, no SQLite database, another program's, of another version, damaged.
    """
    _check_is_sqlite(path)
    try:
        with closing(_connect(f"{path.absolute().as_uri()}?mode=ro")) as connection:
            connection.execute("PRAGMA query_only = ON")
            connection.execute("BEGIN")
            _check_marks(connection, path)
            yield connection
    except sqlite3.Error as err:
        raise file_error(path, err) from err


def open_in_memory() -> sqlite3.Connection:
    """A connection to an empty case table of the newest schema that lives in memory."""
    connection = _connect(":memory:")
    migrate(connection)
    return connection


def is_checked_at_opening(connection: sqlite3.Connection) -> bool:
    """Whether the file is small enough to be checked whole when it is opened."""
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    return bool(pages * connection.execute("PRAGMA page_size").fetchone()[0] <= CHECKED_AT_OPENING_BYTES)


def is_sealed(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether a small file is, to the last byte, what ``rewritten`` wrote; of a large one that is not asked.

    Schema and rows were checked then. A file that something else has written to is to be checked again.
    """
    if not is_checked_at_opening(connection):
        return False
    try:
        (digest,) = connection.execute("SELECT digest FROM seal").fetchone() or (b"",)
        data = path.read_bytes()
    except (sqlite3.Error, OSError):  # is told by the checks of a file that is not sealed
        return False
    return bool(digest == hashlib.sha256(data.replace(digest, _UNSEALED)).digest())


def _seal(path: Path) -> None:
    """Writes the digest of a file into it, of the file as it was with ``_UNSEALED`` in that place."""
    if path.stat().st_size <= CHECKED_AT_OPENING_BYTES:
        data = path.read_bytes()
        path.write_bytes(data.replace(_UNSEALED, hashlib.sha256(data).digest()))


def check_pages(connection: sqlite3.Connection) -> None:
    """Checks every page of the file, and that every row that another one refers to is there.

    Raises:
        sqlite3.DatabaseError: if the file is damaged, as where SQLite meets the damage itself.
    """
    verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise sqlite3.DatabaseError(str(verdict).replace("\n", " "))
    broken = connection.execute("PRAGMA foreign_key_check").fetchone()
    if broken is not None:
        raise sqlite3.DatabaseError(f"row {broken[1]} of table {broken[0]} refers to nothing")


@contextmanager
def rewritten(path: Path, append: bool) -> Iterator[sqlite3.Connection]:
    """A writable connection to a copy that takes the file's place at the end, whole, or not at all.

    Args:
        path: the file.
        append: start from what the file holds, brought up to the newest schema; otherwise from nothing.

    Raises:
        CaseTableError: if the file cannot be read, or its folder cannot be written to.
    """
    copy = path.absolute().with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        if append:
            _check_is_sqlite(path)
        with copy.open("xb") as file:
            if append:
                file.write(path.read_bytes())
        with closing(_connect(f"{copy.as_uri()}?mode=rw")) as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute(f"PRAGMA cache_size = -{_WRITING_CACHE_KIB}")
            if append:
                _check_marks(connection, path, older_is_fine=True)
                check_pages(connection)
            migrate(connection)
            check_schema(connection, path)
            yield connection
            with transaction(connection):
                connection.execute("DELETE FROM seal")
                connection.execute("INSERT INTO seal VALUES (?)", (_UNSEALED,))
        _seal(copy)
        os.replace(copy, path)
    except sqlite3.Error as err:
        raise file_error(path, err) from err
    except OSError as err:
        raise CaseTableError(
            f"{path}: cannot be written ({err.strerror}): choose a path you may write to"
        ) from err
    finally:
        with suppress(OSError):
            copy.unlink()


def _connect(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    return connection


def _check_is_sqlite(path: Path) -> None:
    try:
        with path.open("rb") as file:
            start = file.read(len(_MAGIC))
    except OSError as err:
        raise CaseTableError(
            f"{path}: cannot be read ({err.strerror}): give the path of a case table"
        ) from err
    if start != _MAGIC:
        raise CaseTableError(
            f"{path}: is no SQLite database: make a case table from CSV files with lvedge-cases make"
        )


def _check_marks(connection: sqlite3.Connection, path: Path, older_is_fine: bool = False) -> None:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    if application != APPLICATION_ID:
        raise CaseTableError(
            f"{path}: is an SQLite database but no case table (application id {application:#x}): "
            "make one from CSV with lvedge-cases make"
        )
    version, newest = connection.execute("PRAGMA user_version").fetchone()[0], MIGRATIONS[-1].number
    if version > newest:
        raise CaseTableError(
            f"{path}: has schema {version}, this lvedge knows up to {newest}: install a newer lvedge"
        )
    if version < newest and not older_is_fine:
        raise CaseTableError(
            f"{path}: has schema {version}: bring it to {newest} with lvedge-cases make {path} --append"
        )


def check_schema(connection: sqlite3.Connection, path: Path) -> None:
    """Checks that every table is as the migrations made it, and that nothing was added that acts by itself.

    Raises:
        CaseTableError: naming the first table that is not.
    """
    with closing(open_in_memory()) as fresh:
        expected = _schema(fresh)
    found = _schema(connection)
    changed = sorted(name for _, name, _ in expected - found)
    if changed:
        raise CaseTableError(
            f"{path}: table '{changed[0]}' is missing or was altered: make it again from its CSV files"
        )
    names = {name for _, name, _ in expected}
    foreign = sorted(name for kind, name, _ in found - expected if kind == "trigger" or name in names)
    if foreign:
        raise CaseTableError(
            f"{path}: holds a foreign trigger '{foreign[0]}': make it again from its CSV files"
        )


def file_error(path: Path, err: sqlite3.Error) -> CaseTableError:
    """What to say when SQLite fails on a case table."""
    if "no such module" in str(err):
        return CaseTableError(
            f"{path}: needs SQLite's R*Tree, which this Python's SQLite {sqlite3.sqlite_version} is built "
            "without: use a Python whose sqlite3 has it, such as that of Ubuntu, JetPack or python.org"
        )
    return CaseTableError(f"{path}: is damaged ({err}): make it again from its CSV files, or restore a copy")


def _schema(connection: sqlite3.Connection) -> set[tuple[str, str, str]]:
    """Kind, name and text of everything that has a text, without what a tree keeps itself in."""
    rows = connection.execute("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL")
    return {(kind, name, sql) for kind, name, sql in rows if not is_shadow(name)}
