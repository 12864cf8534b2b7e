"""What has left the database for a file: a month of a table that keeps growing."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now


class TableArchive(models.Model):
    """Rows with keys from `low` to below `high`, in the file of this name below ARCHIVE_DIR. Append-only; written in the transaction that
    took the rows out, so that the two can't disagree.
    """

    table = models.CharField(max_length=63)
    part = models.CharField(
        max_length=63, unique=True, help_text="The partition's name; for rows of an undivided table, as one would be called."
    )
    low = models.BigIntegerField()
    high = models.BigIntegerField()
    rows = models.BigIntegerField()
    file = models.CharField(max_length=200)
    sha256 = models.CharField(max_length=64)
    content = models.CharField(max_length=64, help_text="SHA-256 over the rows themselves, whatever file holds them.")
    event_id = models.BigIntegerField(help_text="The audit event that says so, with the same digest.")
    made_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name = "archive"
        ordering = ["table", "low"]
        default_permissions = ()

    def __str__(self) -> str:
        return f"Archive {self.part}"
