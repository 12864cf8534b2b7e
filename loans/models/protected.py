"""Protected characteristics: a table of their own, so that no frame for training or scoring can hold one by accident."""

from __future__ import annotations

from django.db import models


class ProtectedAttributes(models.Model):
    application = models.OneToOneField("loans.LoanApplication", on_delete=models.CASCADE, primary_key=True, related_name="protected")
    values = models.JSONField(default=dict)

    class Meta:
        verbose_name_plural = "protected attributes"

    def __str__(self) -> str:
        return f"Protected attributes of application {self.pk}"
