"""Branches: where officers work, and whose applications are whose."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from loans.admin.base import DeskAdmin
from loans.models import Branch


@admin.register(Branch)
class BranchAdmin(DeskAdmin):
    list_display = ("name", "code", "active")
    list_filter = ("active",)
    list_filter_submit = False
    search_fields = ("name", "code")
    ordering = ("name", "pk")
    empty_title = _("No branches")
    empty_text = _("Without any, all applications are one pool that every officer works on. With some, an officer sees his own branch's.")

    def has_delete_permission(self, request: HttpRequest, obj: Branch | None = None) -> bool:
        # Its applications and officers name it for good; one that closes is made inactive.
        return False
