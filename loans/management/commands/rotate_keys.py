"""Everything under the new keys, after PII_KEYS, BLIND_INDEX_KEY or ARTIFACT_KEY got a new first one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from loans.management.progress import terminal_progress
from loans.models.crypto import UnreadablePersonalData, index_key_id, key_id
from loans.services import index_rotation, key_rotation


class Command(BaseCommand):
    help = (
        "Bring everything under the first of PII_KEYS, BLIND_INDEX_KEY and ARTIFACT_KEY: what is encrypted, indexed and signed. Put the new"
        " key first and keep the old one behind it; restart all processes; run this; then the old one can go. It may be stopped and begun"
        " again, and runs beside the desk."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        self._encrypt()
        self._index()
        self._sign()

    def _encrypt(self) -> None:
        total = key_rotation.left()
        try:
            done = _shown("Encrypting", total, key_rotation.rotate)
        except UnreadablePersonalData as error:
            raise CommandError(f"{error} Put that key back into PII_KEYS, behind the first, and run this again.", returncode=1) from error
        remaining = key_rotation.left()
        if remaining:
            raise CommandError(f"{done:,} rows done; {remaining:,} were being written by others meanwhile: run this again.", returncode=1)
        self.stdout.write(f"{done:,} rows encrypted anew; everything is under the key {key_id()}, and older keys can be taken out.")

    def _index(self) -> None:
        done = _shown("Indexing", index_rotation.left(), index_rotation.reindex)
        linked = _shown("Linking", 0, index_rotation.turn_links_over)
        remaining = index_rotation.left()
        if remaining:
            raise CommandError(f"{remaining:,} applicants were being written by others meanwhile: run this again.", returncode=1)
        self.stdout.write(f"{done:,} applicants indexed anew and {linked:,} applications linked anew, under the key {index_key_id()}.")

    def _sign(self) -> None:
        from mlcore.artifacts import ArtifactError

        try:
            signed = index_rotation.sign_models_anew()
        except ArtifactError as error:
            raise CommandError(
                f"{error} Put its key back into ARTIFACT_KEY, behind the first, and run this again.", returncode=1
            ) from error
        self.stdout.write(f"{signed:,} models signed anew.")


def _shown(doing: str, total: int, work: Callable[..., int]) -> int:
    with terminal_progress(doing) as progress:
        return work(progress=lambda rows: progress(rows / max(total, rows, 1), f"{rows:,} of {max(total, rows):,} rows"))
