"""The database of the cameras: a file of SQLite in their folder, or PostgreSQL."""

import logging
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import sqlalchemy as sql
from sqlalchemy.dialects import postgresql, sqlite

from snyper.cameras import schema
from snyper.cameras.plate_search import POSTGRESQL_INDEX, SQLITE_INDEX
from snyper.device.disk import lock
from snyper.system.files import PRIVATE, shown, write_private
from snyper.system.text import one_line

FILE = "cameras.db"
_LOCK = "lock"
OWNER = "database-id"  # a file in the folder, and a number in a database that is not
_MAX_AMONG = 1_000  # values of a statement: SQLite takes 32,766 at most
_IN_USE = "another process has the database open, with a copy of the folder: end it, or name another database"
_INCREMENTAL = 2  # of SQLite's auto_vacuum
_LOCK_NUMBER = 0x534E5950  # of PostgreSQL's advisory lock; the letters SNYP
# Others may write: one at a time, so that numbers rise as they are seen.
_TAKE_TURN = f"SELECT pg_advisory_xact_lock({_LOCK_NUMBER})"
# Who has it open has another lock, which ends with the session: at once where the process is killed.
_BE_ALONE = f"SELECT pg_advisory_lock({_LOCK_NUMBER + 1})"
_ALONE_WITHIN = "SET lock_timeout = '5s'"
# Where its operators are not found without their schema's name; names as a statement takes them.
_UNSEEN_TRIGRAMS = (
    "SELECT quote_ident(current_user), quote_ident(current_database()), quote_ident(nspname)"
    " FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace"
    " WHERE extname = 'pg_trgm' AND nspname <> ALL (current_schemas(true))"
)
_ENCODING = "UTF8"  # of PostgreSQL's database
_TEXTS = {"client_encoding": _ENCODING}  # without it those of SQL_ASCII come as bytes
_LOCK_NOT_AVAILABLE = "55P03"  # of PostgreSQL's states

Change = Callable[[Any, Any], dict[str, Any]]  # of the columns of two rows


class InUseError(OSError):
    """Another process has the cameras of this folder."""


class Database:
    """A database, which is made where it is missing: SQLite in `folder`, or what the URL names. Any thread
    may read, one at a time writes. Raises InUseError, OSError, SQLAlchemyError.
    """

    _writer: sql.Connection | None = None  # which stays: to take one from the pool takes as long as some rows
    _session: sql.Connection | None = None  # of PostgreSQL, which has the lock
    _is_paired = False  # with the folder: who writes has to have the lock

    def __init__(self, folder: Path, url: str | None) -> None:
        self._insertions: dict[tuple[sql.Table, tuple[str, ...], Change | None], str] = {}
        self._lock = _locked(folder / _LOCK)
        try:
            _refuse_other_kind(folder, url is None)
            self.engine = _sqlite(folder / FILE) if url is None else _postgresql(url)
            self.is_sqlite = url is None
            self._make_tables(folder)
            if not self.is_sqlite:
                self._is_paired = True
                self._be_alone()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of it."""
        self._let_go_of_writer()
        if self._session is not None:
            self._session.close()
        if hasattr(self, "engine"):
            self.engine.dispose()
        self._lock.close()

    def _be_alone(self) -> None:
        """Have no other process open PostgreSQL's database: one with a copy of the folder may. The lock is
        taken again where the server was started anew. Raises InUseError, SQLAlchemyError.
        """
        try:
            if self._session is not None:
                try:
                    self._session.execute(sql.text(_BE_ALONE))
                    return
                except sql.exc.DBAPIError as error:
                    if not error.connection_invalidated:
                        raise
                    self._session.close()
                    self._session = None
            self._session = self.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            self._session.execute(sql.text(_ALONE_WITHIN))
            self._session.execute(sql.text(_BE_ALONE))
        except sql.exc.OperationalError as error:
            if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
                raise
            raise InUseError(_IN_USE) from None

    @contextmanager
    def reading(self) -> Iterator[sql.Connection]:
        """Give a connection that reads; of SQLite all that it reads is of one moment."""
        with self.engine.connect() as db:
            if self.is_sqlite:
                db.exec_driver_sql("BEGIN")
            yield db

    @contextmanager
    def writing(self) -> Iterator[sql.Connection]:
        """Write all that the block does, or nothing where it raises, such as SQLAlchemyError."""
        try:
            transaction = self._begin()
        except sql.exc.DBAPIError as error:
            if not error.connection_invalidated:
                raise
            transaction = self._begin()  # the server may have been started anew
        try:
            with transaction:
                yield transaction.connection
        except BaseException:
            self._let_go_of_writer()  # which a COMMIT that failed has left in the transaction
            raise

    def _begin(self) -> sql.RootTransaction:
        try:
            if self._writer is None:
                self._writer = self.engine.connect()
                if self._is_paired:
                    self._be_alone()
            transaction = self._writer.begin()
            self._writer.exec_driver_sql("BEGIN IMMEDIATE" if self.is_sqlite else _TAKE_TURN)
        except BaseException:
            self._let_go_of_writer()
            raise
        return transaction

    def _let_go_of_writer(self) -> None:
        """Give its connection back, which rolls back whatever is begun in it."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def remove_some(self, table: sql.Table, condition: sql.ColumnElement[bool], limit: int) -> int:
        """Remove rows of a table, whose key is `number`, that meet a condition: at most `limit`. Return how
        many. Raises SQLAlchemyError.
        """
        with self.writing() as db:
            numbers = list(db.scalars(sql.select(table.c.number).where(condition).limit(limit)))
            if numbers:
                db.execute(sql.delete(table).where(table.c.number.in_(numbers)))
        return len(numbers)

    def vacuum(self, pages: int) -> bool:
        """Give some of the free pages of SQLite's file back, and tell whether there are more."""
        if not self.is_sqlite:
            return False  # PostgreSQL does that itself
        self._pragma(f"incremental_vacuum({pages})")
        return bool(self._pragma("freelist_count")[0][0])

    def truncate_journal(self) -> None:
        """Have all in SQLite's file, nothing in its write-ahead log. Raises OSError while somebody reads."""
        [(is_busy, *_)] = self._pragma("wal_checkpoint(TRUNCATE)")
        if is_busy:
            raise OSError("somebody reads the database: try again")

    def _pragma(self, pragma: str) -> list[Any]:
        connection = self.engine.raw_connection()
        try:
            cursor = connection.cursor()
            cursor.execute(f"PRAGMA {pragma}")
            return list(cursor.fetchall())  # which does the work, row by row
        finally:
            connection.close()

    def find(self, db: sql.Connection, query: str, values: Sequence[str]) -> Iterator[sql.Row[Any]]:
        """Yield the rows of a query that ends with IN, which those values follow. Raises SQLAlchemyError."""
        mark = "?" if self.is_sqlite else "%s"
        for at in range(0, len(values), _MAX_AMONG):
            some = tuple(values[at : at + _MAX_AMONG])
            yield from db.exec_driver_sql(f"{query} ({', '.join([mark] * len(some))})", some)

    def put(
        self, db: sql.Connection, table: sql.Table, rows: list[dict[str, Any]], change: Change | None = None
    ) -> None:
        """Insert rows, all with the same columns; of one that is there become columns what `change` says, of
        the old row and the new: they may have no parameters. Raises SQLAlchemyError.
        """
        if rows:
            db.exec_driver_sql(self._insertion(table, tuple(rows[0]), change), rows)

    def _insertion(self, table: sql.Table, columns: tuple[str, ...], change: Change | None) -> str:
        """Return an INSERT as the driver takes it: for SQLAlchemy to run it takes longer than it does."""
        text = self._insertions.get((table, columns, change))
        if text is None:
            inserting: Any = sqlite.insert(table) if self.is_sqlite else postgresql.insert(table)
            if change is not None:
                keys = [column.name for column in table.primary_key]
                changes = change(table.c, inserting.excluded)
                inserting = inserting.on_conflict_do_update(index_elements=keys, set_=changes)
            dialect = sqlite.dialect(paramstyle="named") if self.is_sqlite else self.engine.dialect
            text = str(inserting.compile(dialect=dialect, column_keys=list(columns)))
            self._insertions[table, columns, change] = text
        return text

    def _make_tables(self, folder: Path) -> None:
        with self.writing() as db:
            if not self.is_sqlite:
                _make_ready(db)
            schema.TABLES.create_all(db)
            for statement in SQLITE_INDEX if self.is_sqlite else POSTGRESQL_INDEX:
                db.execute(sql.text(statement))
            version = db.scalar(sql.select(schema.numbers.c.value).where(schema.numbers.c.name == "version"))
            if version is None:
                db.execute(sql.insert(schema.numbers).values(name="version", value=schema.VERSION))
            elif version != schema.VERSION:
                raise OSError(
                    f"the cameras were written by another version of snyper: their tables are version "
                    f"{version}, these would be {schema.VERSION}. Use that one, or name another folder"
                )
            _count_anew(db)
            if not self.is_sqlite:
                _pair(db, folder / OWNER)


def _make_ready(db: sql.Connection) -> None:
    """Have PostgreSQL's database ready for texts of all scripts, and for trigrams. Raises OSError."""
    encoding = db.scalar(sql.text("SHOW server_encoding"))
    if encoding != _ENCODING:
        how = f"make one with CREATE DATABASE … ENCODING '{_ENCODING}' TEMPLATE template0"
        raise OSError(f"the database has the encoding {encoding}, which has not all letters: {how}")
    try:
        db.execute(sql.text("CREATE EXTENSION IF NOT EXISTS pg_trgm"))
    except sql.exc.DBAPIError as error:
        how = "have its administrator run CREATE EXTENSION pg_trgm in it"
        raise OSError(f"the database has no pg_trgm ({said_of(error)}): {how}") from error
    unseen = db.execute(sql.text(_UNSEEN_TRIGRAMS)).one_or_none()
    if unseen is not None:
        user, name, schema_name = unseen
        grant = f"GRANT USAGE ON SCHEMA {schema_name} TO {user}"
        how = f"{grant}; ALTER ROLE {user} IN DATABASE {name} SET search_path = public, {schema_name}"
        raise OSError(f"pg_trgm is in the schema {schema_name}, which is not searched: have run {how}")


def _count_anew(db: sql.Connection) -> None:
    """Count what no number says, as in a new database, or where somebody has removed its row by hand."""
    known = set(db.scalars(sql.select(schema.numbers.c.name)))
    for name, count in schema.COUNTS.items():
        if name not in known:
            value = db.scalar(count) or 0
            db.execute(sql.insert(schema.numbers).values(name=name, value=int(value)))


def _refuse_other_kind(folder: Path, is_sqlite: bool) -> None:
    """Refuse a folder whose records are in a database of the other kind. Raises OSError."""
    if is_sqlite and (folder / OWNER).exists():
        anew = f"to begin without its records, remove {shown(folder / OWNER)}"
        raise OSError(f"the records of {shown(folder)} are in PostgreSQL: name it with --database; {anew}")
    if not is_sqlite and (folder / FILE).exists():
        anew = f"to begin without its records, move {FILE} away"
        raise OSError(f"the records of {shown(folder)} are in its {FILE}: leave --database out; {anew}")


def _pair(db: sql.Connection, file: Path) -> None:
    """Have a database and a folder belong together: with another folder its pictures would be missing, and
    what one gateway removes would be the other's. Raises OSError where the database is another folder's.
    """
    numbers = schema.numbers
    there = db.scalar(sql.select(numbers.c.value).where(numbers.c.name == "owner"))
    try:
        own = int(file.read_text("ascii"))
    except (FileNotFoundError, ValueError):
        own = None
    if there is None:
        own = own or secrets.randbits(62)
        write_private(file, b"%d\n" % own)
        db.execute(sql.insert(numbers).values(name="owner", value=own))
    elif own != there:
        folder = f"name that, or give {shown(file.parent)} a database of its own"
        lost = f"If that folder is lost, write {there} into {shown(file)}"
        raise OSError(f"the database has the cameras of another folder: {folder}. {lost}")


def _sqlite(path: Path) -> sql.Engine:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, PRIVATE))
    engine = sql.create_engine(f"sqlite:///{path}")

    @sql.event.listens_for(engine, "connect")
    def set_up(connection: Any, record: object) -> None:
        connection.isolation_level = None  # transactions are begun above
        connection.execute("PRAGMA busy_timeout = 10000")
        [vacuums] = connection.execute("PRAGMA auto_vacuum").fetchone()
        if vacuums != _INCREMENTAL:  # this writes, which a connection that reads must not
            connection.execute(f"PRAGMA auto_vacuum = {_INCREMENTAL}")
        # Freed pages are zeroed, so that what is erased is in no file.
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "secure_delete = ON"):
            connection.execute(f"PRAGMA {pragma}")

    return engine


def _postgresql(url: str) -> sql.Engine:
    try:
        found = sql.make_url(url)
    except sql.exc.ArgumentError:
        found = None
    if found is None or found.get_backend_name() not in ("postgresql", "postgres"):
        raise OSError("the database has to be a URL such as postgresql://user@host/name")
    logging.getLogger("psycopg").setLevel(logging.ERROR)  # it warns of what follows from a fault that is told
    try:
        return sql.create_engine(
            found.set(drivername="postgresql+psycopg"), pool_pre_ping=True, connect_args=_TEXTS
        )
    except ModuleNotFoundError as error:
        raise OSError("PostgreSQL needs the extra: pip install 'snyper[cameras,postgresql]'") from error


def said_of(error: Exception) -> str:
    """Return in a line what the database itself says of an error."""
    return one_line(str(getattr(error, "orig", None) or error))


@contextmanager
def explained(folder: Path, url: str | None) -> Iterator[None]:
    """Turn what a database says into what to do. Raises OSError."""
    what = f"{shown(folder / FILE)}, the database of the cameras," if url is None else "the database"
    try:
        yield
    except sql.exc.SQLAlchemyError as error:
        raise OSError(f"{what} cannot be used ({said_of(error)})") from error


def _locked(path: Path) -> BinaryIO:
    """Open the file that one process at a time has locked. Raises InUseError, OSError."""
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, PRIVATE), "r+b")
    if not lock(file.fileno(), waits=False):
        file.close()
        where = shown(path.parent)
        raise InUseError(f"another process serves the cameras in {where}: end it, or name another folder")
    return file
