"""People and their roles. An administrator manages both, and must not become a superuser or an officer by it."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as BaseGroupAdmin
from django.contrib.auth.admin import UserAdmin as BaseUserAdmin
from django.contrib.auth.models import Group, User
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.admin import StackedInline
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from loans.admin.base import DeskAdmin
from loans.admin.sessions import LoginForm
from loans.models import Branch, OfficerProfile

admin.site.login_form = LoginForm
admin.site.unregister(User)
admin.site.unregister(Group)


class OfficerProfileInline(StackedInline):
    """Branch and limit, on the page of the account that they belong to."""

    model = OfficerProfile
    can_delete = False
    verbose_name = verbose_name_plural = gettext_lazy("At the desk")

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "branch":
            kwargs["queryset"] = Branch.objects.filter(active=True)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)


@admin.register(User)
class UserAdmin(BaseUserAdmin, DeskAdmin):
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "first_name", "last_name", "email", "is_active", "is_staff")
    list_filter = ("is_active", "is_staff", "groups")
    list_filter_submit = False
    filter_horizontal = ("user_permissions",)
    actions = None
    inlines = (OfficerProfileInline,)

    def get_inlines(self, request: HttpRequest, obj: Any) -> tuple[type, ...]:
        # A new account is saved before it has a page to set them on; and nobody gives himself a branch or a limit.
        return self.inlines if obj is not None and (obj.pk != request.user.pk or request.user.is_superuser) else ()

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # Else an administrator could set a superuser's password and sign in as him.
        if obj is not None and obj.is_superuser and not request.user.is_superuser:
            return False
        return super().has_change_permission(request, obj)

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "groups":
            kwargs["widget"] = UnfoldAdminCheckboxSelectMultipleWidget
            kwargs["help_text"] = _("Roles: each gives its permissions.")
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        fixed = ("last_login", "date_joined")
        if request.user.is_superuser:
            return fixed
        fixed += ("is_superuser", "user_permissions")
        return (*fixed, "groups") if obj is not None and obj.pk == request.user.pk else fixed


@admin.register(Group)
class GroupAdmin(BaseGroupAdmin, DeskAdmin):
    actions = None
