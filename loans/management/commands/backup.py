"""Back the desk up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from loans.services import backup


class Command(BaseCommand):
    help = "Write database, models and uploads into a new folder, with fingerprints of the keys. Keep the keys themselves elsewhere."

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("folder", type=Path)

    def handle(self, *args: Any, folder: Path, **options: Any) -> None:
        try:
            manifest = backup.make(folder)
        except (backup.BackupProblem, OSError) as problem:
            raise CommandError(str(problem), returncode=1) from problem
        size = sum((folder / name).stat().st_size for name in manifest["files"]) / 1e6
        self.stdout.write(f"{folder}: {len(manifest['files']):,} files, {size:,.1f} MB. To bring it back: manage.py restore {folder}")
