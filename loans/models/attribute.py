"""A lender's own further fields: declared once as rows, no migration and no code for them."""

from __future__ import annotations

import math
from datetime import date

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models

from loans.models.fields import APPLICANT_FIELDS, APPLICATION_FIELDS, BadText, clean_text

KINDS = [("number", "Number"), ("boolean", "Yes or no"), ("category", "Category"), ("date", "Date")]
LINK_KINDS = [
    ("phone", "Phone number"),
    ("email", "Email address"),
    ("device", "Device"),
    ("bank_account", "Bank account"),
    ("address", "Address"),
    ("national_id", "National id"),
]
DIRECTIONS = [(1, "higher means more risk"), (0, "not known"), (-1, "higher means less risk")]
MAX_TEXT = 200
# Nanoseconds since 1970, as frames count time, end in 2262; nobody's facts lie outside of these either.
EARLIEST_DATE, LATEST_DATE = date(1800, 1, 1), date(2200, 12, 31)


class AttributeDefinitionQuerySet(models.QuerySet):
    def features(self) -> AttributeDefinitionQuerySet:
        """What a model may learn from."""
        return self.filter(known_at_application=True, protected=False, link_kind="")


class AttributeDefinition(models.Model):
    name = models.CharField(
        max_length=63, unique=True, validators=[RegexValidator(r"^[a-z][a-z0-9_]*$", "Lower-case letters, digits and underscores.")]
    )
    label = models.CharField(max_length=200, blank=True)
    kind = models.CharField("type", max_length=10, choices=KINDS)
    unit = models.CharField(max_length=40, blank=True)
    direction = models.SmallIntegerField("direction of risk", choices=DIRECTIONS, default=0)
    known_at_application = models.BooleanField(default=True, help_text="What a lender learns later never reaches a model.")
    protected = models.BooleanField(
        default=False, help_text="Age, sex, race, marital status …: kept apart, seen by the fairness report alone."
    )
    changeable = models.BooleanField(default=False, help_text="Whether the applicant could change it before applying again.")
    family = models.CharField(
        max_length=63, blank=True, help_text="Attributes that tell the same story share one; reasons are given by family."
    )
    reason_text = models.CharField(max_length=300, blank=True, help_text="Said to the applicant where this attribute counts against him.")
    link_kind = models.CharField(
        "identifies",
        max_length=12,
        blank=True,
        choices=LINK_KINDS,
        help_text="An identifier links applications in the search for fraud, and is never a feature.",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    objects = AttributeDefinitionQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(condition=models.Q(kind__in=[kind for kind, _ in KINDS]), name="attribute_kind_known"),
            models.CheckConstraint(condition=models.Q(direction__in=[-1, 0, 1]), name="attribute_direction_known"),
            models.CheckConstraint(
                condition=models.Q(link_kind="")
                | models.Q(link_kind__in=[kind for kind, _ in LINK_KINDS], kind="category", protected=False),
                name="attribute_link_kind_known",
            ),
        ]

    def __str__(self) -> str:
        return self.label or self.name.replace("_", " ").capitalize()

    @property
    def is_feature(self) -> bool:
        """Whether a model may learn from it; `features()` for one row."""
        return self.known_at_application and not self.protected and self.link_kind == ""

    def clean(self) -> None:
        if self.name in APPLICATION_FIELDS or self.name in APPLICANT_FIELDS:
            raise ValidationError({"name": f"{self.name} is a field that every application has; choose another name."})
        if self.link_kind and (self.kind != "category" or self.protected):
            raise ValidationError({"link_kind": "An identifier is a category, and not a protected characteristic."})

    def parse(self, value: object) -> float | bool | str | None:
        """The value as it is stored; raises ValueError with what is wrong with it. None and "" mean missing."""
        if value is None or value == "":
            return None
        return getattr(self, f"_parse_{self.kind}")(value)

    def _parse_number(self, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError("must be a number")
        try:
            number = float(value)
        except (ValueError, OverflowError):
            raise ValueError(f"must be a number, not {str(value)[:40]!r}") from None
        if not math.isfinite(number):
            raise ValueError("must be a finite number")
        return number

    def _parse_boolean(self, value: object) -> bool:
        if isinstance(value, bool):
            return value
        known = {"true": True, "yes": True, "y": True, "1": True, "false": False, "no": False, "n": False, "0": False}
        if isinstance(value, int | str) and str(value).strip().lower() in known:
            return known[str(value).strip().lower()]
        raise ValueError("must be true or false")

    def _parse_category(self, value: object) -> str:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError("must be text")
        try:
            text = clean_text(str(value))
        except BadText as error:
            raise ValueError(str(error)) from None
        if len(text) > MAX_TEXT:
            raise ValueError(f"is {len(text)} characters long; at most {MAX_TEXT} are allowed")
        return text

    def _parse_date(self, value: object) -> str:
        try:
            day = date.fromisoformat((value.isoformat() if isinstance(value, date) else str(value))[:10])
        except ValueError:
            raise ValueError("must be a date such as 2026-03-31") from None
        if not EARLIEST_DATE <= day <= LATEST_DATE:
            raise ValueError(f"must lie between {EARLIEST_DATE} and {LATEST_DATE}")
        return day.isoformat()
