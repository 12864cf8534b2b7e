"""A paper of an application: its bytes lie encrypted on the disk, this row says what they are."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings
from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from loans.models.crypto import EncryptedTextField


class DocumentKind(models.TextChoices):
    IDENTITY = "identity", _("Identity")
    INCOME = "income", _("Proof of income")
    STATEMENT = "statement", _("Statement of account")
    CONTRACT = "contract", _("Contract")
    OTHER = "other", _("Other")


class Document(models.Model):
    """stored_as: the file's name below `folder()`, random. name: what its sender called it, which often names a person. key: the id of the
    key that the file is encrypted under, for the rotation to find what is left; the file itself says it too, and is what counts.
    """

    application = models.ForeignKey("loans.LoanApplication", on_delete=models.PROTECT, related_name="documents")
    kind = models.CharField(max_length=9, choices=DocumentKind)
    name = EncryptedTextField()
    content_type = models.CharField(max_length=40)
    size = models.PositiveBigIntegerField(help_text="Bytes, unencrypted.")
    sha256 = models.CharField(max_length=64, help_text="Of the unencrypted bytes.")
    stored_as = models.CharField(max_length=40, unique=True)
    key = models.CharField(max_length=8)
    added_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-pk"]
        default_permissions = ("add", "view", "delete")
        constraints = [
            models.UniqueConstraint(fields=["application", "sha256"], name="document_once_an_application"),
            models.CheckConstraint(condition=models.Q(size__gt=0), name="document_not_empty"),
            models.CheckConstraint(condition=models.Q(kind__in=DocumentKind.values), name="document_kind_known"),
        ]
        indexes = [models.Index(fields=["key"], name="document_key_ix")]

    def __str__(self) -> str:
        return f"Document {self.pk}"

    @property
    def path(self) -> Path:
        return folder() / self.stored_as[:2] / self.stored_as


def folder() -> Path:
    """Below the uploads, so that a back-up has it."""
    return Path(settings.UPLOADS_DIR) / "documents"
