"""A search for pictures without a row, and for rows whose picture is gone or damaged."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath

import sqlalchemy as sql

from snyper.cameras import schema
from snyper.cameras.database import Database
from snyper.cameras.pictures import PictureFolder, is_hour, is_picture_name, is_thumbnail_name
from snyper.cameras.removal import Removal, has_record
from snyper.device.disk import shown


@dataclass
class CheckResult:
    """The result of a check: names of files that no row has, of pictures whose file is gone, and of those
    whose file is not what came, with what is wrong of each.
    """

    files: int = 0
    rows: int = 0  # pictures that rows name
    orphans: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    damaged: dict[str, str] = field(default_factory=dict)


class Check:
    """A check of all pictures, in the writer's thread, by their sizes; where it `reads` them, by their
    SHA-256 too. With `repairs`, orphans and damaged files are removed, and rows of what is damaged or
    missing, and of records that somebody has removed by hand, in a second round: of most pictures only where
    it `forces` that. Other files are left alone.
    """

    def __init__(
        self,
        database: Database,
        pictures: PictureFolder,
        removal: Removal,
        repairs: bool,
        forces: bool,
        reads: bool,
    ) -> None:
        self._database, self._pictures, self._removal = database, pictures, removal
        self._repairs, self._forces, self._reads = repairs, forces, reads
        self._steps = self._rounds()
        self.result = CheckResult()
        self.hours_done = self.hours = 0  # of this round

    def step(self) -> bool:
        """Check an hour or a picture, and tell whether that was all. Raises
        sqlalchemy.exc.SQLAlchemyError, OSError.
        """
        return next(self._steps, self) is self

    def _rounds(self) -> Iterator[None]:
        yield from self._round(None)
        if self._repairs:
            if not self._forces:
                self._refuse_most()
            damaged, self.result = self.result.damaged, CheckResult()
            yield from self._round(damaged)
            yield from self._removal.remove_unrecorded()

    def _round(self, damaged: Mapping[str, str] | None) -> Iterator[None]:
        """Look for what is wrong; or repair it, where it is known what is damaged."""
        hours = sorted(self._hours_of_files() | self._hours_of_rows())
        self.hours_done, self.hours = 0, len(hours)
        for hour in hours:
            yield from self._check(hour, damaged)
            self.hours_done += 1
            yield

    def _refuse_most(self) -> None:
        """Refuse to remove most pictures, or what rows say of most. Raises OSError."""
        found = self.result
        orphans = [one for one in found.orphans if is_picture_name(one)]
        lost = len(found.missing) + len(found.damaged)
        if 2 * len(orphans) > found.files or 2 * lost > found.rows:
            counts = f"{len(orphans):,} of {found.files:,} pictures have no record, {lost:,} of"
            what = f"{counts} {found.rows:,} in records are gone or damaged: nothing is repaired"
            raise OSError(f"{what}. Is a disk not mounted, or the database another? --force does it")

    def _hours_of_files(self) -> set[str]:
        folders = [self._pictures.folder, self._pictures.thumbnails]
        return {path.name for one in folders if one.is_dir() for path in one.iterdir() if is_hour(path.name)}

    def _hours_of_rows(self) -> set[str]:
        """Return the hours that rows name, by leaps from one to the next."""
        hours, name = set(), schema.pictures.c.name
        with self._database.reading() as db:
            last = ""
            while (found := db.scalar(sql.select(sql.func.min(name)).where(name > last))) is not None:
                hours.add(found.partition("/")[0])
                last = f"{found.partition('/')[0]}0"  # which follows all names with a slash
        return hours

    def _check(self, hour: str, known_damaged: Mapping[str, str] | None) -> Iterator[None]:
        folder = self._pictures.folder / hour
        files = set(filter(is_picture_name, _names(folder)))
        name, length = schema.pictures.c.name, schema.pictures.c.length
        is_of_hour = (name >= f"{hour}/") & (name < f"{hour}0")
        of_hour = sql.select(name, length).where(is_of_hour, has_record(schema.pictures)).distinct()
        with self._database.reading() as db:
            rows = {row.name: row.length for row in db.execute(of_hour)}
        damaged = {}
        for picture in sorted(files & rows.keys()):
            if known_damaged is None:
                why = self._why_damaged(picture, rows[picture])
            else:
                why = known_damaged.get(picture)
            if why is not None:
                damaged[picture] = why
            if self._reads and known_damaged is None:
                yield
        orphans, missing = files - rows.keys(), rows.keys() - files
        kept = {PurePath(picture).with_suffix(".jpg").as_posix() for picture in rows.keys() & files}
        unowned = set(filter(is_thumbnail_name, _names(self._pictures.thumbnails / hour))) - kept
        self.result.files += len(files)
        self.result.rows += len(rows)
        self.result.orphans += sorted(orphans) + [f"thumbnails/{name}" for name in sorted(unowned)]
        self.result.missing += sorted(missing)
        self.result.damaged |= damaged
        if known_damaged is not None:
            if missing or damaged:
                self._removal.remove_pictures_named(missing | damaged.keys())
            for picture in orphans:
                self._pictures.remove(picture)
            for thumbnail in unowned:
                (self._pictures.thumbnails / thumbnail).unlink(missing_ok=True)
            if not files - orphans - damaged.keys():
                _remove_empty(folder)

    def _why_damaged(self, name: str, length: int) -> str | None:
        """Say what is wrong with the file of a picture, None for nothing. Raises OSError."""
        path = self._pictures.folder / name
        try:
            found = path.stat().st_size
            if found != length:
                return f"it has {found:,} bytes, not {length:,}"
            if not self._reads or hashlib.sha256(path.read_bytes()).hexdigest() == path.stem:
                return None
        except OSError as error:
            raise OSError(f"{shown(path)} cannot be read ({error.strerror}): nothing is repaired") from error
        return "its SHA-256 is another"


def _names(folder: Path) -> set[str]:
    return {f"{folder.name}/{path.name}" for path in folder.iterdir()} if folder.is_dir() else set()


def _remove_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:  # it has others, or is gone
        return
