"""Promotion checks: the page with the findings, to print, on which a second person approves; and the policies they are held to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from loans.admin.base import DeskAdmin, ReadOnly, badge, post_only
from loans.admin.model_life import LONGEST_REASON, PROMOTES, who
from loans.admin.policy import Signed
from loans.models import CheckState, PromotionCheck, PromotionPolicy
from loans.models.promotion import LIMITS
from loans.queries.comparison import comparison_page
from loans.queries.model_page import SYNTHETIC
from loans.services import promotion, registry

TITLES = {
    "auc_margin": "AUC margin",
    "brier_margin": _("Brier margin"),
    "oe_margin": "O/E margin",
    "impact_margin": _("Fairness margin"),
    "reasons_agreement": _("Reasons in common"),
    "least_rows": _("Loans, at least"),
    "least_defaults": _("Defaults, at least"),
    "shadow_days": _("Days in shadow"),
    "shadow_scores": _("Scores in shadow"),
    "shadow_at_once": _("Shadow at once"),
    "held_back": _("Left for judging"),
    "valid_days": _("Valid for (days)"),
    "automatic": _("By rule, without a person"),
}
TONES = {"open": "info", "failed": "danger", "approved": "success", "refused": "default"}
FINDING_TONES = {"passed": "success", "failed": "danger", "look": "warning"}


@admin.register(PromotionCheck)
class PromotionCheckAdmin(ReadOnly, DeskAdmin):
    list_display = ("check_shown", "version_shown", "against_shown", "state_shown", "reason", "requested_by", "decided_by", "created")
    list_filter = ("state",)
    list_filter_submit = False
    empty_title = _("No promotion checks yet")
    empty_text = _("On the page of a version that does not serve, “Check for promotion” compares it with the one that does.")

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        found = super().get_queryset(request).select_related("version", "against", "requested_by", "decided_by", "version__created_by")
        return found.defer("version__report", "against__report")

    def custom_paths(self) -> list[URLPattern]:
        return [
            self.at("<int:object_id>/approve/", self.approve_view, "approve"),
            self.at("<int:object_id>/refuse/", self.refuse_view, "refuse"),
        ]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        found = self.seen_or_refused(request, object_id)
        if found is None:
            return self.gone(request, object_id)
        may = request.user.has_perm(PROMOTES)
        why_not = promotion.why_not(found, request.user)
        version_url = reverse("admin:loans_modelversion_change", args=[found.version_id])
        evidence = found.evidence if found.evidence.get("figures") else None
        context = {
            "title": f"Promotion check: {found.version}",
            "original": found,
            "check": found,
            "tone": TONES[found.state],
            "findings": [
                {"title": one.title, "label": one.get_status_display(), "tone": FINDING_TONES[one.status], "in_words": one.in_words}
                for one in found.findings.all()
            ],
            "looks": any(one.status == "look" for one in found.findings.all()),
            "asked_by": who(found.requested_by),
            "trained_by": who(found.version.created_by),
            "decided_by": gettext("a rule of the promotion policy")
            if found.automatic and found.decided_by is None
            else who(found.decided_by),
            "limits": limits_shown(found),
            "comparison": comparison_page(evidence) if evidence and "swap" in evidence else None,
            "synthetic": SYNTHETIC if found.version.synthetic else "",
            "version_url": version_url,
            "why_not": why_not if may and found.state == CheckState.OPEN else "",
            "approve_url": reverse("admin:loans_promotioncheck_approve", args=[found.pk]) if may and not why_not else "",
            "refuse_url": reverse("admin:loans_promotioncheck_refuse", args=[found.pk]) if may and found.state == CheckState.OPEN else "",
        }
        return self.render(request, "admin/loans/promotioncheck/page.html", context)

    @post_only
    def approve_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        def approve(found: PromotionCheck, reason: str) -> str:
            version = promotion.approve(found, by=request.user, reason=reason)
            return gettext("%(version)s serves from now on. Applications that are scored already keep their scores.") % {"version": version}

        return self._end(request, object_id, approve)

    @post_only
    def refuse_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        def refuse(found: PromotionCheck, reason: str) -> str:
            promotion.refuse(found, by=request.user, reason=reason)
            return gettext("Refused: %(against)s goes on serving.") % {"against": found.against}

        return self._end(request, object_id, refuse)

    def _end(self, request: HttpRequest, object_id: int, end: Callable[[PromotionCheck, str], str]) -> HttpResponse:
        from mlcore.artifacts import ArtifactError

        found = self.seen_or_refused(request, str(object_id), PROMOTES)
        if found is None:
            return self.gone(request, str(object_id))
        reason = request.POST.get("reason", "").strip()
        if not reason or len(reason) > LONGEST_REASON:
            words = (
                gettext("Say why: it is kept with the decision.")
                if not reason
                else gettext("At most %(longest_reason)s characters.") % {"longest_reason": LONGEST_REASON}
            )
            return self.told(request, found, words, messages.ERROR)
        try:
            words = end(found, reason)
        except (registry.NotPromotable, ArtifactError, OSError) as refusal:
            return self.told(request, found, str(refusal), messages.ERROR)
        self.log_change(request, found, f"{words} {reason}"[:1000])
        return self.told(request, found, words)

    @display(description=_("Check"), ordering="pk")
    def check_shown(self, obj: PromotionCheck) -> str:
        return f"{obj.version}"

    @display(description=_("Version"))
    def version_shown(self, obj: PromotionCheck) -> SafeString:
        url = reverse("admin:loans_modelversion_change", args=[obj.version_id])
        return format_html('<a class="ld-link" href="{}">{}</a>', url, obj.version)

    @display(description=_("Against"))
    def against_shown(self, obj: PromotionCheck) -> str:
        return str(obj.against)

    @display(description=_("State"))
    def state_shown(self, obj: PromotionCheck) -> SafeString:
        return badge(obj.get_state_display(), TONES[obj.state])


def limits_shown(found: PromotionCheck) -> list[tuple[str, str]]:
    """What the check was held to, as it was on its day."""
    return [(TITLES[name], _value(found.limits[name])) for name in LIMITS if name in found.limits]


def _value(value: Any) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else f"{value:g}" if isinstance(value, (int, float)) else str(value)


class PromotionPolicyForm(forms.ModelForm):
    class Meta:
        model = PromotionPolicy
        fields = ("kind", "effective_from", "reason", *TITLES)
        labels = TITLES


@admin.register(PromotionPolicy)
class PromotionPolicyAdmin(Signed, DeskAdmin):
    form = PromotionPolicyForm
    list_display = ("policy_shown", "auc_margin", "least_rows", "least_defaults", "shadow_days", "automatic", "reason", "created_by")
    list_filter = ("kind",)
    list_filter_submit = False
    list_select_related = ("created_by",)
    fieldsets = (
        (_("Of which kind, from when, and why"), {"fields": ("kind", "effective_from", "reason")}),
        (
            _("How much worse is still no worse"),
            {"fields": (("auc_margin", "brier_margin"), ("oe_margin", "impact_margin"), "reasons_agreement")},
        ),
        (_("On what it is judged"), {"fields": (("least_rows", "least_defaults"), "held_back")}),
        (_("In shadow before"), {"fields": (("shadow_days", "shadow_scores"), "shadow_at_once")}),
        ("Approval", {"fields": ("valid_days", "automatic")}),
    )
    empty_title = _("No promotion policy of your own yet")
    empty_text = _("Until there is one, the values that the form proposes hold, and a second person approves. A policy is never edited.")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @display(description=_("Policy"), ordering="effective_from")
    def policy_shown(self, obj: PromotionPolicy) -> str:
        return str(obj)
