"""The SQLite file: migrations, marks, damage, and that nothing half-written stays."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import pytest

from lvedge.casetable import open_case_table, schema, table
from lvedge.casetable.schema import (
    APPLICATION_ID,
    MIGRATIONS,
    Migration,
    migrate,
    open_read_only,
    transaction,
)
from lvedge.errors import CaseTableError

NEWEST = 2
RECORDS = [(1, "rules and reference cases"), (2, "trees over rules and reference cases")]


def state(connection: sqlite3.Connection) -> tuple[int, int, list[tuple[int, str]]]:
    return (
        connection.execute("PRAGMA application_id").fetchone()[0],
        connection.execute("PRAGMA user_version").fetchone()[0],
        connection.execute("SELECT number, name FROM migration ORDER BY number").fetchall(),
    )


@pytest.fixture
def memory() -> sqlite3.Connection:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        yield connection


def test_migrations_are_recorded_and_run_once(memory: sqlite3.Connection) -> None:
    migrate(memory)
    migrate(memory)
    assert state(memory) == (APPLICATION_ID, NEWEST, RECORDS)


def test_a_migration_and_its_record_are_committed_together(memory: sqlite3.Connection) -> None:
    broken = Migration(NEWEST + 1, "broken", ("CREATE TABLE extra (x)", "CREATE TABLE extra (x)"))
    with pytest.raises(sqlite3.OperationalError, match="already exists"):
        migrate(memory, (*MIGRATIONS, broken))
    assert state(memory) == (APPLICATION_ID, NEWEST, RECORDS)
    assert memory.execute("SELECT count(*) FROM sqlite_master WHERE name = 'extra'").fetchone() == (0,)


def test_a_transaction_happens_whole_or_not_at_all(memory: sqlite3.Connection) -> None:
    migrate(memory)

    def write_half() -> None:
        with transaction(memory):
            memory.execute("INSERT INTO meta VALUES ('title', 'half')")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert memory.execute("SELECT count(*) FROM meta").fetchone() == (0,)


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO rule VALUES (1,'frame','any','any',NULL,NULL,'any','MR','c','l',4,'s','')",
        "INSERT INTO rule VALUES (1,'heart','any','any',NULL,NULL,'any','MR','c','l',1,'s','')",
        "INSERT INTO rule VALUES (1,'frame','any','any',NULL,NULL,'any','MR',x'00','l',1,'s','')",
        "INSERT INTO condition VALUES (1,'fac',NULL,1,NULL,1)",
        "INSERT INTO feature VALUES (0,'fac','much',1.0,1.0)",
        "INSERT INTO feature VALUES (0,'fac',1.0,0.0,1.0)",
    ],
)
def test_the_schema_refuses_what_cannot_stand(memory: sqlite3.Connection, statement: str) -> None:
    migrate(memory)
    with pytest.raises(sqlite3.IntegrityError):
        memory.execute(statement)


def test_nothing_can_be_written_at_run_time(case_file: Path) -> None:
    with (
        pytest.raises(CaseTableError, match="attempt to write a readonly database"),
        open_read_only(case_file) as connection,
    ):
        connection.execute("DELETE FROM rule")


def message(path: Path) -> str:
    with pytest.raises(CaseTableError) as caught:
        open_case_table(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    return text.removeprefix(f"{path}: ")


def alter(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def test_a_missing_file(tmp_path: Path) -> None:
    assert message(tmp_path / "none.sqlite") == (
        "cannot be read (No such file or directory): give the path of a case table"
    )


@pytest.mark.parametrize("content", [b"", b"rule,scope\n1,frame\n", b"\x00" * 4096])
def test_a_file_that_is_no_database(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "no.sqlite"
    path.write_bytes(content)
    assert message(path) == "is no SQLite database: make a case table from CSV files with lvedge-cases make"


def test_a_database_of_another_program(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    alter(path, "CREATE TABLE rule (number)")
    assert message(path) == (
        "is an SQLite database but no case table (application id 0x0): "
        "make one from CSV with lvedge-cases make"
    )


def test_a_newer_table(case_file: Path) -> None:
    alter(case_file, "PRAGMA user_version = 9")
    assert message(case_file) == "has schema 9, this lvedge knows up to 2: install a newer lvedge"


def test_an_older_table_is_brought_up_by_appending(
    case_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from lvedge.casetable.cli import main

    newer = Migration(NEWEST + 1, "notes", ("CREATE TABLE note (text TEXT)",))
    monkeypatch.setattr(schema, "MIGRATIONS", (*MIGRATIONS, newer))
    assert message(case_file) == f"has schema 2: bring it to 3 with lvedge-cases make {case_file} --append"
    assert main(["make", str(case_file), "--append"]) == 0
    with open_read_only(case_file) as connection:
        assert state(connection) == (APPLICATION_ID, NEWEST + 1, [*RECORDS, (NEWEST + 1, "notes")])
    with open_case_table(case_file) as table:
        assert len(table.content.rules) == 9


def test_a_table_of_the_first_schema_is_told_apart_and_brought_up(tmp_path: Path, case_file: Path) -> None:
    from lvedge.casetable.cli import main

    old = tmp_path / "old.sqlite"
    with closing(sqlite3.connect(old, isolation_level=None)) as connection:
        migrate(connection, MIGRATIONS[:1])
        connection.execute("ATTACH ? AS new", (str(case_file),))
        for table in (
            "meta",
            "rule",
            "condition",
            "feature",
            "reference_group",
            "reference",
            "reference_value",
        ):
            connection.execute(f"INSERT INTO {table} SELECT * FROM new.{table} ORDER BY rowid")
    assert message(old) == f"has schema 1: bring it to 2 with lvedge-cases make {old} --append"
    assert main(["make", str(old), "--append"]) == 0
    with open_case_table(old) as table, open_case_table(case_file) as same:
        assert table.content == same.content
        values = {"fac": 0.6, "ed_rwt_max_mm": 8.2}
        assert table.find_cycle(values, level="mid") == same.find_cycle(values, level="mid")


def test_an_sqlite_without_trees_is_named(tmp_path: Path) -> None:
    error = schema.file_error(tmp_path / "t.sqlite", sqlite3.OperationalError("no such module: rtree"))
    assert str(error) == (
        f"{tmp_path}/t.sqlite: needs SQLite's R*Tree, which this Python's SQLite {sqlite3.sqlite_version} is "
        "built without: use a Python whose sqlite3 has it, such as that of Ubuntu, JetPack or python.org"
    )


@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.9])
def test_a_truncated_table(case_file: Path, share: float) -> None:
    whole = case_file.read_bytes()
    case_file.write_bytes(whole[: int(share * len(whole))])
    assert message(case_file).endswith("make it again from its CSV files, or restore a copy")


def test_bytes_flipped_in_every_page_are_seen_or_harmless(case_file: Path) -> None:
    whole = case_file.read_bytes()
    with open_case_table(case_file) as table:
        content = table.content
    for at in range(4096, len(whole), 4096):
        case_file.write_bytes(whole[:at] + b"\xff" * 8 + whole[at + 8 :])
        with suppress(CaseTableError), open_case_table(case_file) as table:
            assert table.content == content


class CheckedError(Exception):
    """The whole file is being checked."""


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening says by an exception that it checks the whole file."""

    def check(_: sqlite3.Connection) -> None:
        raise CheckedError

    monkeypatch.setattr(table, "_check_whole", check)


@pytest.mark.usefixtures("told")
def test_a_small_table_is_checked_whole_unless_every_byte_is_as_it_was_made(case_file: Path) -> None:
    open_case_table(case_file).close()
    whole = case_file.read_bytes()
    for at in (*range(1000, len(whole), 5000), len(whole) - 1):
        case_file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises((CheckedError, CaseTableError)):
            open_case_table(case_file)
    case_file.write_bytes(whole + b"\0")
    with pytest.raises(CheckedError):
        open_case_table(case_file)
    case_file.write_bytes(whole)
    open_case_table(case_file).close()


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize("statement", ["DELETE FROM seal", "UPDATE seal SET digest = x''", "VACUUM"])
def test_a_table_without_its_seal_is_checked_whole(case_file: Path, statement: str) -> None:
    alter(case_file, statement)
    with pytest.raises(CheckedError):
        open_case_table(case_file)


@pytest.mark.usefixtures("told")
def test_a_table_that_was_appended_to_is_sealed_anew(case_file: Path) -> None:
    from lvedge.casetable.cli import main

    before = case_file.read_bytes()
    assert main(["make", str(case_file), "--append", "--title", "another title"]) == 0
    assert case_file.read_bytes() != before
    open_case_table(case_file).close()


def test_altered_tables_are_refused(case_file: Path) -> None:
    alter(case_file, "ALTER TABLE rule ADD COLUMN dose REAL")
    assert message(case_file) == "table 'rule' is missing or was altered: make it again from its CSV files"


def test_a_foreign_trigger_is_refused(case_file: Path) -> None:
    alter(case_file, "CREATE TRIGGER t AFTER INSERT ON rule BEGIN DELETE FROM meta; END")
    assert message(case_file) == "holds a foreign trigger 't': make it again from its CSV files"


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("DELETE FROM meta WHERE key = 'sectors'", "table 'meta' is incomplete or was altered ('sectors')"),
        ("UPDATE condition SET value = 'fak' WHERE value = 'fac'", "rule 6, conditions: unknown value 'fak'"),
        (
            "UPDATE rule SET label = 'it is HCM' WHERE number = 1",
            "rule 1, label: has to say 'consistent with ...': a result is never a diagnosis",
        ),
        ("UPDATE condition SET upper = -1.0 WHERE rule = 7", "rule 7, conditions: no number satisfies"),
        ("DELETE FROM rule WHERE number = 9", "no cycle rule without conditions"),
        ("DELETE FROM reference_value WHERE reference = 3 AND position = 0", "reference 3 has 1 values"),
        ("DELETE FROM reference_group WHERE case_name = 'DCM'", "is damaged (row 4 of table reference"),
        ("UPDATE feature SET name = 'fak' WHERE name = 'fac'", "unknown value 'fak'; did you mean 'fac'?"),
    ],
)
def test_rows_changed_by_hand_are_checked_again(case_file: Path, statement: str, reason: str) -> None:
    alter(case_file, statement)
    assert message(case_file).startswith(reason)
