"""Check the audit trail against its seals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from loans.management.progress import terminal_progress
from loans.models import AuditSeal
from loans.services import audit


class Command(BaseCommand):
    help = "Follow the audit trail's hash chains and name the first row that is not as it was written. Exit code 1 where there is one."

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--heads", type=Path, help="ends of the chains from an earlier run: shows events that were cut off since")
        parser.add_argument("--save-heads", type=Path, help="write the ends of the chains to this file, to be kept off this machine")
        parser.add_argument(
            "--archive", type=Path, metavar="FOLDER", help="read archived events in this folder too (ARCHIVE_DIR, or a copy)"
        )

    def handle(self, *args: Any, heads: Path | None, save_heads: Path | None, archive: Path | None, **options: Any) -> None:
        kept = _read(heads) if heads else None
        total = AuditSeal.objects.count()
        with terminal_progress("Verifying") as bar:
            verified = audit.verify(heads=kept, archive=archive, progress=lambda done: bar(done / max(total, 1), f"{done:,} events"))
        if verified.faults:
            first, *others = [_said(fault) for fault in verified.faults]
            lines = [f"The audit trail is not as it was written. First bad row: {first}", *others]
            raise CommandError("\n".join(lines), returncode=1)
        if save_heads:
            save_heads.write_text(json.dumps({chain: list(head) for chain, head in sorted(verified.heads.items())}, indent=1) + "\n")
        self.stdout.write(f"{verified.events:,} audit events in {len(verified.heads)} chains, all as they were written.")
        if verified.archived:
            read = "read in their files too" if archive else "only their seals and anchors were looked at: --archive FOLDER reads the files"
            self.stdout.write(f"{verified.archived:,} of them are archived; {read}.")


def _said(fault: audit.Fault) -> str:
    where = f"event {fault.event}" if fault.event else "the end"
    return f"{where}{'' if fault.chain is None else f' of chain {fault.chain}'}: {fault.message}."


def _read(path: Path) -> dict[int, tuple[int, str]]:
    try:
        return {int(chain): (int(position), str(digest)) for chain, (position, digest) in json.loads(path.read_text()).items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise CommandError(f"{path} does not hold the ends of chains as --save-heads writes them: {error}", returncode=2) from error
