"""Bring a lender's file in: past loans with their outcomes, new applications, or both."""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path
from typing import Any, NoReturn

from django.core.management.base import BaseCommand

from loans.management.progress import terminal_progress
from loans.models import ImportBatch
from loans.services import imports
from loans.services.imports import ImportProblem, RowProblem
from mlcore.progress import Cancelled

SHOWN = 20


class Command(BaseCommand):
    help = "Import loans or applications from CSV, CSV.gz, XLSX or Parquet. docs/IMPORT.md explains mappings."

    def add_arguments(self, parser: Any) -> None:
        known = ", ".join(imports.available_mappings())
        parser.add_argument("file", metavar="FILE", type=Path)
        parser.add_argument("--mapping", metavar="NAME|PATH", help=f"What the file's columns mean: {known}, or the path of a .toml file.")
        parser.add_argument("--strict", action="store_true", help="Load nothing where one row is bad.")
        parser.add_argument(
            "--open-since",
            metavar="DATE",
            help="Take applications from this day on (2026-03-01, or last-month for the file's own last month) as undecided; "
            "their outcomes are withheld.",
        )
        parser.add_argument("--draft-mapping", action="store_true", help="Import nothing; propose a mapping from the file's head.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if options["draft_mapping"]:
                self.stdout.write(_draft(options["file"]), ending="")
                return
            if not options["mapping"]:
                raise ImportProblem("Say what the columns mean: --mapping NAME|PATH (--draft-mapping proposes one).")
            mapping = imports.load_mapping(options["mapping"])
            with terminal_progress("Import") as progress:
                batch = imports.run_import(
                    options["file"], mapping=mapping, strict=options["strict"], open_since=_since(options["open_since"]), progress=progress
                )
        except ImportProblem as problem:
            self._refuse(problem)
        except (Cancelled, KeyboardInterrupt):
            self._fail("Cancelled; nothing was loaded.")
        self._summary(batch)

    def _summary(self, batch: ImportBatch) -> None:
        speed = f", {batch.rows_read / batch.seconds:,.0f} rows/s" if batch.seconds else ""
        self.stdout.write(
            f"{batch.file_name}: {batch.rows_read:,} rows read, {batch.rows_loaded:,} loaded, {batch.rows_unchanged:,} here already, "
            f"{batch.rows_rejected:,} rejected; {batch.seconds:.1f} s{speed}, peak memory {batch.peak_memory_mb:,.0f} MB."
        )
        if batch.rows_loaded:
            opened = batch.applications.undecided().count()
            since = f" (submitted since {batch.open_since:%Y-%m-%d})" if batch.open_since and opened else ""
            self.stdout.write(f"{batch.rows_loaded - opened:,} past loans with an outcome, {opened:,} open applications{since}.")
        if batch.rows_rejected:
            shown = [str(RowProblem(error.line, error.column, error.value, error.message)) for error in batch.errors.all()[:SHOWN]]
            self._fail(
                "\n".join([f"{batch.rows_rejected:,} rows were not loaded; the others were:", *_listed(shown, batch.errors.count())])
            )

    def _refuse(self, problem: ImportProblem) -> NoReturn:
        self._fail("\n".join([str(problem), *_listed([str(one) for one in problem.problems[:SHOWN]], problem.total)]))

    def _fail(self, message: str) -> NoReturn:
        self.stderr.write(self.style.ERROR(message))
        sys.exit(2)


def _listed(shown: list[str], total: int) -> list[str]:
    lines = [f"  {text}" for text in shown]
    return [*lines, f"  … and {total - len(shown):,} more."] if shown and total > len(shown) else lines


def _since(text: str | None) -> date | str | None:
    if text is None or text == "last-month":
        return text
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ImportProblem(f"--open-since is a date such as 2026-03-01, or last-month; not {text!r}.") from None


def _draft(path: Path) -> str:
    from loans.services.imports.draft import draft_mapping

    return draft_mapping(path)
