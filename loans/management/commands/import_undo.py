"""Take an import back: all that it loaded, as long as nobody has acted on it."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand

from loans.models import ImportBatch
from loans.services.imports.undo import NotUndoable, undo, undoing


class Command(BaseCommand):
    help = "Take out everything that an import loaded. Refused where somebody has acted on one of its applications."

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("batch", type=int, metavar="NUMBER", help="Of the import, as the admin's list has it.")

    def handle(self, *args: Any, **options: Any) -> None:
        batch = ImportBatch.objects.filter(pk=options["batch"]).first()
        if batch is None:
            self._fail(f"There is no import {options['batch']}.")
        trained = undoing(batch).trained_in_words
        try:
            gone = undo(batch, by=None)
        except NotUndoable as refusal:
            self._fail(str(refusal))
        self.stdout.write(f"{batch}: {gone:,} applications taken out." + (f"\n{trained}" if trained else ""))

    def _fail(self, message: str) -> None:
        self.stderr.write(self.style.ERROR(message))
        sys.exit(2)
