"""A lender's own fields, declared by the model's owners."""

from __future__ import annotations

from django import forms
from django.contrib import admin
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from loans.admin.base import DeskAdmin
from loans.models import AttributeDefinition


class AttributeForm(forms.ModelForm):
    class Meta:
        model = AttributeDefinition
        exclude = ()  # noqa: DJ006 - the admin's fieldsets say which

    def clean_protected(self) -> bool:
        protected = self.cleaned_data["protected"]
        if self.instance.pk and self.instance.protected and not protected:
            raise forms.ValidationError(
                gettext("Its values lie with the protected characteristics and stay there. Declare a new attribute instead.")
            )
        return protected


@admin.register(AttributeDefinition)
class AttributeDefinitionAdmin(DeskAdmin):
    form = AttributeForm
    list_display = ("label_shown", "name", "kind", "unit", "direction", "known_at_application", "protected")
    list_filter = ("kind", "protected", "known_at_application")
    list_filter_submit = False
    search_fields = ("name", "label")
    fieldsets = (
        (None, {"fields": (("name", "label"), ("kind", "unit"))}),
        (_("What a model may make of it"), {"fields": ("known_at_application", "protected", ("direction", "family"), "changeable")}),
        (_("What it identifies"), {"fields": ("link_kind",)}),
        (_("What an applicant is told"), {"fields": ("reason_text",)}),
    )
    empty_title = _("No attributes of your own yet")
    empty_text = _(
        "Declare here what your applications say beyond the fields that all have: savings, branch, scores of your own. No code changes."
    )

    def get_readonly_fields(self, request: object, obj: AttributeDefinition | None = None) -> tuple[str, ...]:
        # Stored values carry the name and were parsed as this type.
        return ("name", "kind") if obj else ()

    @display(description=_("Attribute"), ordering="label")
    def label_shown(self, obj: AttributeDefinition) -> str:
        return str(obj)
