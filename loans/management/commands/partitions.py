"""The months of the growing tables: which there are, making them ahead, and what goes to the archive."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from loans.models import TableArchive
from loans.queries.partitions import outlook, parts, sizes
from loans.services import archiving, partitions
from loans.services.parquet_files import ArchiveProblem

WHAT = {
    "list": "the partitions with their rows (estimated) and sizes, and the archives",
    "create": "partitions for this month and the coming ones; rows that had none get theirs",
    "archive": "everything that ARCHIVE_AFTER_MONTHS wants out of the database into files below ARCHIVE_DIR",
    "check": "read every archive's file against what the database says of it",
    "prepare": "before migration 0039, on a large database: what it would otherwise do while it holds the tables",
}


class Command(BaseCommand):
    help = "Predictions, feature snapshots, audit events and jobs by month. " + " ".join(f"{name}: {text}." for name, text in WHAT.items())

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("what", nargs="?", choices=list(WHAT), default="list")
        parser.add_argument("--ahead", type=int, metavar="MONTHS", help="create: so many months ahead (PARTITIONS_AHEAD)")
        parser.add_argument("--folder", type=Path, help="check: a copy of ARCHIVE_DIR")

    def handle(self, *args: Any, what: str, ahead: int | None, folder: Path | None, **options: Any) -> None:
        if ahead is not None and not 1 <= ahead <= 120:
            raise CommandError("--ahead takes 1 to 120 months.", returncode=2)
        try:
            {"list": self._list, "create": lambda: self._create(ahead), "archive": self._archive, "check": lambda: self._check(folder),
             "prepare": self._prepare}[what]()  # fmt: skip
        except ArchiveProblem as problem:
            raise CommandError(str(problem), returncode=1) from problem

    def _list(self) -> None:
        known = sizes()
        for part in parts():
            number, size = known[part.name]
            rows = "not counted yet" if number < 0 else f"about {number:,} rows"
            self.stdout.write(f"{part.name:40} {rows:>22} {size / 1e6:>12,.1f} MB")
        for archive in TableArchive.objects.all():
            self.stdout.write(f"{archive.part:40} {archive.rows:>17,} rows  in {archive.file} since {archive.made_at:%Y-%m-%d}")
        found = outlook()
        for name in found.missing:
            self.stdout.write(self.style.WARNING(f"{name}: the coming month has no partition; manage.py partitions create"))
        for name in found.stray:
            self.stdout.write(self.style.WARNING(f"{name}: rows had no partition of their month; manage.py partitions create"))

    def _create(self, ahead: int | None) -> None:
        kept = partitions.keep_ahead(ahead)
        for name in kept.made:
            self.stdout.write(f"Made {name}.")
        for name in kept.tidied:
            self.stdout.write(f"Rows that had no partition of their month are {name} now.")
        if kept.left:
            raise CommandError(
                f"Rows of {', '.join(kept.left)} stay in the default partition: months around them have theirs.", returncode=1
            )
        if not (kept.made or kept.tidied):
            self.stdout.write("All there.")

    def _archive(self) -> None:
        if not any(settings.ARCHIVE_AFTER_MONTHS.values()):
            self.stdout.write("Nothing is archived: ARCHIVE_AFTER_MONTHS names no table.")
            return
        done = archiving.archive_due()
        for archive in done.made:
            self.stdout.write(f"{archive.part}: {archive.rows:,} rows in {archive.file}, sha256 {archive.sha256}")
        for why in done.kept_back:
            self.stdout.write(f"Kept: {why}")
        if not (done.made or done.kept_back):
            self.stdout.write("Nothing is due.")

    def _check(self, folder: Path | None) -> None:
        archives = list(TableArchive.objects.all())
        for archive in archives:
            archiving.check(archive, folder)
        self.stdout.write(f"{len(archives)} archives, all as they were written.")

    def _prepare(self) -> None:
        done = partitions.prepare()
        self.stdout.write(f"Ready: {', '.join(done)}." if done else "Nothing to do: the tables are prepared, or divided already.")
