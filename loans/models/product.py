"""What is lent."""

from __future__ import annotations

from django.db import models


class LoanProduct(models.Model):
    code = models.SlugField(max_length=64, unique=True)
    name = models.CharField(max_length=200)
    active = models.BooleanField(default=True, help_text="An inactive product takes no new applications.")
    minimum_amount = models.DecimalField(max_digits=14, decimal_places=2, null=True, blank=True)
    maximum_amount = models.DecimalField(max_digits=14, decimal_places=2, null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["code"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(minimum_amount__isnull=True)
                | models.Q(maximum_amount__isnull=True)
                | models.Q(minimum_amount__lte=models.F("maximum_amount")),
                name="product_amounts_in_order",
            )
        ]

    def __str__(self) -> str:
        return self.name
