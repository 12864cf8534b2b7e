"""Who applies. One row an application: what was said then, not what somebody's file says today."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models

from loans.models.crypto import EncryptedTextField, blind_index, index_key_id, index_keys, name_tokens

INDEXED = ("name", "email", "phone", "national_id", "bank_account", "address", "employer")


class ApplicantQuerySet(models.QuerySet):
    def matching(self, text: str) -> ApplicantQuerySet:
        """Those whose email, phone or national id is this text, however it is spelt, or whose name has all of its words."""
        condition = models.Q()
        for key in index_keys():
            for kind in ("email", "phone", "national_id"):
                digest = blind_index(kind, text, key=key)
                if digest is not None:
                    condition |= models.Q(**{f"{kind}_index": digest})
            tokens = name_tokens(text, key=key)
            if tokens:
                condition |= models.Q(name_tokens__contains=tokens)
        return self.filter(condition) if condition else self.none()


class Applicant(models.Model):
    """Personal data, encrypted field by field; `…_index` are blind indexes for equality search."""

    name = EncryptedTextField(blank=True, null=True)
    email = EncryptedTextField(blank=True, null=True)
    phone = EncryptedTextField(blank=True, null=True)
    birth_date = EncryptedTextField(blank=True, null=True)
    national_id = EncryptedTextField(blank=True, null=True)
    bank_account = EncryptedTextField(blank=True, null=True)
    address = EncryptedTextField(blank=True, null=True)
    employer = EncryptedTextField(blank=True, null=True)
    name_tokens = ArrayField(
        models.BinaryField(max_length=8),
        default=list,
        db_default=[],
        editable=False,
        help_text="Blind indexes of the name's words, so that one finds it.",
    )
    name_index = models.BinaryField(max_length=16, null=True, editable=False)
    email_index = models.BinaryField(max_length=16, null=True, editable=False)
    phone_index = models.BinaryField(max_length=16, null=True, editable=False)
    national_id_index = models.BinaryField(max_length=16, null=True, editable=False)
    bank_account_index = models.BinaryField(max_length=16, null=True, editable=False)
    address_index = models.BinaryField(max_length=16, null=True, editable=False)
    employer_index = models.BinaryField(max_length=16, null=True, editable=False)

    index_key = models.CharField(
        max_length=8, blank=True, default="", db_default="", editable=False,
        help_text="Id of the key that the indexes are under; empty where whoever wrote them did not say.",
    )  # fmt: skip
    erased_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = ApplicantQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=[f"{kind}_index"], name=f"applicant_{kind}_ix", condition=models.Q(**{f"{kind}_index__isnull": False}))
            for kind in INDEXED
        ] + [GinIndex(fields=["name_tokens"], name="applicant_name_tokens_ix", fastupdate=False)]

    def __str__(self) -> str:
        return f"Applicant {self.pk}"

    def save(self, *args: object, **kwargs: object) -> None:
        self.set_indexes()
        super().save(*args, **kwargs)

    def set_indexes(self) -> None:
        """Bring the blind indexes in line with the values; bulk writers call this themselves."""
        here = self.__dict__  # past forty descriptors, of which nobody asks for anything here
        for kind in INDEXED:
            value = here.get(kind) if kind in here else getattr(self, kind)
            here[f"{kind}_index"] = blind_index(kind, value) if value else None
        self.name_tokens = name_tokens(self.name or "")
        self.index_key = index_key_id()
