"""A file on its way in: stored under a random name until it is imported, given up or too old, with what its columns are to mean."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from loans.models.crypto import EncryptedTextField


class ImportUpload(models.Model):
    """stored_as: the file's name in `folder()`; nothing of what its owner called it. head: JSON of what its columns hold, as samples.

    batch: the import that was started with it last. It may be tried again after one that failed or was cancelled.
    """

    stored_as = models.CharField(max_length=40, unique=True)
    file_name = models.CharField("file", max_length=255)
    size = models.BigIntegerField(help_text="Bytes.")
    sha256 = models.CharField(max_length=64)
    uploaded_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(db_default=Now())
    mapping = models.TextField(help_text="TOML: what the columns mean, as far as it has been settled.")
    mapping_from = models.CharField(max_length=200, help_text="Where the mapping comes from, in words.")
    head = EncryptedTextField()
    open_since = models.CharField(max_length=10, blank=True)
    batch = models.OneToOneField("loans.ImportBatch", on_delete=models.CASCADE, null=True, blank=True, related_name="upload")

    class Meta:
        ordering = ["-pk"]
        verbose_name = "file to import"
        verbose_name_plural = "files to import"
        default_permissions = ()
        indexes = [models.Index(fields=["created_at"], name="importupload_created_ix")]

    def __str__(self) -> str:
        return self.file_name

    @property
    def path(self) -> Path:
        return folder() / self.stored_as

    @property
    def is_busy(self) -> bool:
        return self.batch is not None and self.batch.is_active


def folder() -> Path:
    return Path(settings.UPLOADS_DIR) / "imports"
