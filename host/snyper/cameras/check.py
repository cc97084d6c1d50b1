"""A search for pictures without a row, and for rows whose picture is gone."""

from dataclasses import dataclass, field
from pathlib import Path, PurePath

import sqlalchemy as sql

from snyper.cameras import schema
from snyper.cameras.database import Database
from snyper.cameras.pictures import PictureFolder, is_hour, is_picture_name, is_thumbnail_name
from snyper.cameras.removal import Removal


@dataclass
class CheckResult:
    """The result of a check: names of files that no row has, and of pictures whose file is gone."""

    files: int = 0
    rows: int = 0  # pictures that rows name
    orphans: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


class Check:
    """A check of all pictures, in the writer's thread; with `repairs`, orphans are removed, and rows of what
    is missing, in a second round: of most pictures only where it `forces` that. Other files are left alone.
    """

    def __init__(
        self, database: Database, pictures: PictureFolder, removal: Removal, repairs: bool, forces: bool
    ) -> None:
        self._database, self._pictures, self._removal = database, pictures, removal
        self._repairs, self._forces = repairs, forces
        self._is_repairing = False
        self._hours: list[str] | None = None
        self.result = CheckResult()

    def step(self) -> bool:
        """Check an hour, and tell whether it was the last. Raises sqlalchemy.exc.SQLAlchemyError, OSError."""
        if self._hours is None:
            self._hours = sorted(self._hours_of_files() | self._hours_of_rows())
        elif self._hours:
            self._check(self._hours.pop())
        if self._hours:
            return False
        if self._is_repairing or not self._repairs:
            return True
        if not self._forces:
            self._refuse_most()
        self._is_repairing, self._hours, self.result = True, None, CheckResult()
        return False

    def _refuse_most(self) -> None:
        """Refuse to remove most pictures, or what rows say of most. Raises OSError."""
        found = self.result
        orphans = [one for one in found.orphans if is_picture_name(one)]
        if 2 * len(orphans) > found.files or 2 * len(found.missing) > found.rows:
            counts = f"{len(orphans):,} of {found.files:,} pictures have no record, {len(found.missing):,} of"
            what = f"{counts} {found.rows:,} in records are gone: nothing is repaired"
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

    def _check(self, hour: str) -> None:
        folder = self._pictures.folder / hour
        files = set(filter(is_picture_name, _names(folder)))
        name = schema.pictures.c.name
        with self._database.reading() as db:
            rows = set(db.scalars(sql.select(name).where(name >= f"{hour}/", name < f"{hour}0").distinct()))
        orphans, missing = files - rows, rows - files
        kept = {PurePath(picture).with_suffix(".jpg").as_posix() for picture in rows & files}
        unowned = set(filter(is_thumbnail_name, _names(self._pictures.thumbnails / hour))) - kept
        self.result.files += len(files)
        self.result.rows += len(rows)
        self.result.orphans += sorted(orphans) + [f"thumbnails/{name}" for name in sorted(unowned)]
        self.result.missing += sorted(missing)
        if self._is_repairing:
            for orphan in orphans:
                self._pictures.remove(orphan)
            for thumbnail in unowned:
                (self._pictures.thumbnails / thumbnail).unlink(missing_ok=True)
            if missing:
                self._removal.remove_pictures_named(missing)
            if not files - orphans:
                _remove_empty(folder)


def _names(folder: Path) -> set[str]:
    return {f"{folder.name}/{path.name}" for path in folder.iterdir()} if folder.is_dir() else set()


def _remove_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:  # it has others, or is gone
        return
