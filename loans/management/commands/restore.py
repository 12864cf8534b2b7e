"""Bring a back-up back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from loans.models import ModelVersion
from loans.services import audit, backup, registry
from mlcore.artifacts import ArtifactError


class Command(BaseCommand):
    help = "Put a back-up in place of what this desk has, after checking that it is whole and that the keys here belong to it."
    requires_system_checks = ()

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("folder", type=Path)
        parser.add_argument("--overwrite", action="store_true", help="also where the database has tables: they are replaced")

    def handle(self, *args: Any, folder: Path, overwrite: bool, **options: Any) -> None:
        try:
            manifest = backup.restore(folder, overwrite=overwrite)
        except (backup.BackupProblem, OSError) as problem:
            raise CommandError(str(problem), returncode=1) from problem
        problems = [f"audit event {fault.event}: {fault.message}" for fault in audit.verify().faults]
        for version in ModelVersion.objects.filter(state="champion").defer("report"):
            try:
                registry.load(version)
            except (ArtifactError, OSError) as error:
                problems.append(str(error))
        if problems:
            raise CommandError("Restored, but: " + "; ".join(problems), returncode=1)
        self.stdout.write(f"Restored the desk of {manifest['made_at']}; audit trail and models are as they were. Next: manage.py migrate")
