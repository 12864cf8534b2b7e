"""What is lent."""

from __future__ import annotations

from django.contrib import admin
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from loans.admin.base import DeskAdmin
from loans.models import LoanProduct
from loans.queries.words import money


@admin.register(LoanProduct)
class LoanProductAdmin(DeskAdmin):
    list_display = ("name", "code", "active", "minimum_shown", "maximum_shown")
    list_filter_submit = False
    search_fields = ("name", "code")
    fieldsets = (
        (None, {"fields": ("name", "code", "active")}),
        (
            "Amounts",
            {"fields": (("minimum_amount", "maximum_amount"),), "description": _("Applications outside are refused when they come in.")},
        ),
    )
    empty_title = _("No products yet")
    empty_text = _("An application may name a product; add those that you lend.")

    def get_readonly_fields(self, request: object, obj: LoanProduct | None = None) -> tuple[str, ...]:
        # Clients and import mappings name a product by its code.
        return ("code",) if obj else ()

    @display(description=_("From"))
    def minimum_shown(self, obj: LoanProduct) -> str:
        return money(obj.minimum_amount) if obj.minimum_amount is not None else "–"

    @display(description=_("Up to"))
    def maximum_shown(self, obj: LoanProduct) -> str:
        return money(obj.maximum_amount) if obj.maximum_amount is not None else "–"
