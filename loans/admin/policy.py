"""The lender's rules: at which probability to approve, and what rules an application out. Written by the model's owners."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Q, Subquery
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.urls import URLPattern, reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display
from unfold.widgets import UnfoldAdminSelectWidget

from loans.admin.base import DeskAdmin, badge
from loans.admin.model_pages import policy_context
from loans.models import AttributeDefinition, KnockOutRule, ModelVersion, Policy
from loans.models.fields import APPLICATION_FIELDS, FEATURE_FIELDS
from loans.queries.rules import rules_in_words
from loans.queries.words import day_of, percent
from loans.services import rulepack


class Signed:
    """Keeps who wrote the row."""

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if not change:
            obj.created_by = request.user
        super().save_model(request, obj, form, change)


class PolicyForm(forms.ModelForm):
    class Meta:
        model = Policy
        fields = ("approve_below", "decline_from", "margin", "loss_given_default", "effective_from", "reason")

    def clean(self) -> dict[str, Any]:
        data = super().clean()
        for name in ("approve_below", "decline_from"):
            if data.get(name) is not None and not 0 <= data[name] <= 1:
                self.add_error(name, gettext("A fraction between 0 and 1: write 0.1 for 10 %."))
        low, high = data.get("approve_below"), data.get("decline_from")
        if low is not None and high is not None and not self.errors and low > high:
            self.add_error("decline_from", gettext("Declining can not begin below the point up to which is approved."))
        return data


@admin.register(Policy)
class PolicyAdmin(Signed, DeskAdmin):
    form = PolicyForm
    list_display = ("bands", "state", "margin_shown", "loss_shown", "effective", "reason", "created_by")
    list_select_related = ("created_by",)
    list_before_template = "loans/cut_off_link.html"
    fieldsets = (
        (
            "Advice",
            {
                "fields": (("approve_below", "decline_from"),),
                "description": _("Fractions: 0.1 is 10 %. Between the two the advice is to look closer."),
            },
        ),
        (_("What a loan earns or costs"), {"fields": (("margin", "loss_given_default"),)}),
        (_("From when, and why"), {"fields": ("effective_from", "reason")}),
    )
    empty_title = _("No policy of your own yet")
    empty_text = _(
        "Until there is one, approval is advised where a loan is expected to earn more than it loses. "
        "A policy is never edited: a later one takes its place."
    )

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def custom_paths(self) -> list[URLPattern]:
        return [self.at("cut-off/", self.cut_off_view, "cut_off")]

    def cut_off_view(self, request: HttpRequest) -> HttpResponse:
        """What a cut-off earns under the model in service."""
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        if not (self.has_view_permission(request) and request.user.has_perm("loans.view_modelversion")):
            raise PermissionDenied
        version = ModelVersion.objects.champion()
        if version is None:
            context = {"title": gettext("What a cut-off earns"), "models_url": reverse("admin:loans_modelversion_changelist")}
        else:
            context = policy_context(version, version_url=reverse("admin:loans_modelversion_change", args=[version.pk]))
        return self.render(request, "admin/loans/modelversion/policy.html", context)

    @display(description=_("Advice"))
    def bands(self, obj: Policy) -> str:
        return str(obj)

    def get_queryset(self, request: HttpRequest) -> Any:
        newest = Policy.objects.filter(effective_from__lte=Now()).order_by("-effective_from", "-pk").values("pk")[:1]
        return super().get_queryset(request).annotate(in_force=Q(pk=Subquery(newest)))

    @display(description=_("State"))
    def state(self, obj: Policy) -> SafeString:
        if obj.in_force:
            return badge(gettext("In force"), "success")
        return badge(gettext("Begins later"), "info") if obj.effective_from > timezone.now() else badge("Replaced")

    @display(description=_("From"), ordering="effective_from")
    def effective(self, obj: Policy) -> str:
        return day_of(obj.effective_from)

    @display(description=_("Margin"))
    def margin_shown(self, obj: Policy) -> str:
        return percent(obj.margin)

    @display(description=_("Loss on default"))
    def loss_shown(self, obj: Policy) -> str:
        return percent(obj.loss_given_default)


class RuleForm(forms.ModelForm):
    """Fields and reasons come from lists, so that a rule can't name what does not exist."""

    field = forms.ChoiceField(widget=UnfoldAdminSelectWidget)
    reason = forms.ChoiceField(widget=UnfoldAdminSelectWidget, help_text=_("What the applicant is told where this rule decides."))

    class Meta:
        model = KnockOutRule
        fields = ("name", "field", "operator", "value", "reason", "active")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        own = [(row.name, str(row)) for row in AttributeDefinition.objects.features()]
        core = [(name, APPLICATION_FIELDS[name].label) for name in FEATURE_FIELDS if APPLICATION_FIELDS[name].kind != "text"]
        self.fields["field"].choices = [("", "Choose…"), (gettext("The application"), core)] + (
            [(gettext("This lender's own"), own)] if own else []
        )
        reasons = rulepack.in_force().reasons["decline"].values()
        self.fields["reason"].choices = [("", "Choose…")] + [(reason.code, reason.text) for reason in reasons]


@admin.register(KnockOutRule)
class KnockOutRuleAdmin(Signed, DeskAdmin):
    form = RuleForm
    list_display = ("name", "words", "active", "created_by", "created")
    list_filter = ("active",)
    list_filter_submit = False
    list_select_related = ("created_by",)
    fieldsets = (
        (None, {"fields": ("name", "active")}),
        (_("The application is ruled out where"), {"fields": ("field", ("operator", "value"))}),
        (_("What the applicant is told"), {"fields": ("reason",)}),
    )
    empty_title = _("No knock-out rules")
    empty_text = _("A rule here advises to decline whatever the score is, for instance: income is below 12000.")

    @display(description=_("Ruled out where"))
    def words(self, obj: KnockOutRule) -> str:
        return rules_in_words([obj])[obj.pk]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # A rule that has decided stays readable; it is switched off instead.
        return False
