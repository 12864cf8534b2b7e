"""Model versions: what each is worth, which one serves, and the two buttons: train and promote."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.db.models.fields.json import KT
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display
from unfold.views import ChangeList

from loans.admin import segment
from loans.admin.base import DeskAdmin, ReadOnly, badge, post_only
from loans.admin.chart_card import ChartCard, Charted
from loans.admin.model_charts import fairness_cards, risk_cards
from loans.admin.model_life import PROMOTES, ModelLife
from loans.admin.model_pages import ModelPages
from loans.admin.training_run import TRAINS
from loans.models import ModelKind, ModelVersion, TrainingRun
from loans.models.job import ACTIVE_RUN
from loans.queries.model_amount import amount_model_page
from loans.queries.model_fairness import fairness
from loans.queries.model_fraud import SELECTED, fraud_model_page
from loans.queries.model_page import SYNTHETIC, model_page
from loans.queries.words import code, number, percent, whole
from loans.services import promotion, registry, training

TRAINED = {
    ModelKind.DEFAULT_RISK: _("fits several models on all loans with a known outcome and keeps the simplest that is as good as the best"),
    ModelKind.LOAN_AMOUNT: _("fits the range of amounts that were carried"),
    ModelKind.SEGMENTS: _("looks for groups of customers among all applications, and says so where there are none"),
    ModelKind.FRAUD: _("learns what is usual and, from enough findings on, what fraud looks like"),
}
STATE_TONES = {"champion": "success", "challenger": "primary", "shadow": "info"}


@admin.register(ModelVersion)
class ModelVersionAdmin(ModelLife, ModelPages, Charted, ReadOnly, DeskAdmin):
    ordering = ("kind", "-version")
    list_display = ("version_shown", "state_shown", "algorithm_shown", "auc", "default_rate", "trained_on", "created_by", "created")
    list_filter = ("kind", "state")
    list_filter_submit = False
    list_select_related = ("created_by",)
    list_before_template = "loans/train.html"
    empty_title = _("No model yet")
    empty_text = _(
        "Train the first one: it needs past loans with their outcomes. The first of its kind serves at once; later ones run in shadow and "
        "pass a promotion check."
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).select_related("created_by", "promoted_by", "predecessor").defer("predecessor__report")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        base = super().get_changelist(request, **kwargs)

        class Versions(base):
            def get_queryset(self, request: HttpRequest, *args: Any, **kwargs: Any) -> QuerySet:
                # A report is some 100 KB; the list takes three figures out of it and leaves it where it is.
                return (
                    super().get_queryset(request, *args, **kwargs).defer("report").annotate(
                        **{f"auc_{part}": _auc(part) for part in ("value", "low", "high")}, rate=KT("report__baselines__default_rate"),
                        loans=Coalesce(KT("report__data__rows"), KT("report__rows")), title=KT("report__choice__title"),
                        edits=KT("report__edits"),
                    )
                )  # fmt: skip

        return Versions

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        active = list(TrainingRun.objects.filter(state__in=ACTIVE_RUN).order_by("pk"))
        busy = {run.kind for run in active}
        sees = request.user.has_perm("loans.view_trainingrun")
        return super().changelist_view(
            request,
            {
                "train_url": reverse("admin:loans_modelversion_train") if request.user.has_perm(TRAINS) else "",
                "kinds": [(kind, label, TRAINED.get(kind, "")) for kind, label in ModelKind.choices if kind not in busy],
                "active_runs": [
                    (run, round(100 * run.share_done), reverse("admin:loans_trainingrun_change", args=[run.pk]) if sees else "")
                    for run in active
                ],
                **(extra_context or {}),
            },
        )

    def custom_paths(self) -> list[URLPattern]:
        return [
            self.at("train/", self.train_view, "train"),
            self.at("<int:object_id>/promote/", self.promote_view, "promote"),
            *self.life_paths(),
            *self.page_paths(),
            *self.chart_paths(),
        ]

    def chart_cards(self, request: HttpRequest, obj: ModelVersion) -> list[ChartCard]:
        if obj.kind == ModelKind.SEGMENTS:
            return segment.cards(obj)
        return [*risk_cards(obj, model_page(obj)), *fairness_cards(obj)] if obj.kind == ModelKind.DEFAULT_RISK else []

    @post_only
    def train_view(self, request: HttpRequest) -> HttpResponse:
        if not request.user.has_perm(TRAINS):
            raise PermissionDenied
        kind = request.POST.get("kind", "")
        try:
            run = training.start_training(kind, by=request.user)
        except training.TrainingAlreadyActive as refusal:
            run = TrainingRun.objects.filter(kind=kind, state__in=ACTIVE_RUN).first()
            self.message_user(request, str(refusal), messages.WARNING)
        except training.TrainingRefused as refusal:
            run = None
            self.message_user(request, str(refusal), messages.ERROR)
        if run is None or not request.user.has_perm("loans.view_trainingrun"):
            return HttpResponseRedirect(self.the_list())
        return HttpResponseRedirect(reverse("admin:loans_trainingrun_change", args=[run.pk]))

    @post_only
    def promote_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        from mlcore.artifacts import ArtifactError

        version = self.seen_or_refused(request, str(object_id), PROMOTES)
        if version is None:
            return self.gone(request, str(object_id))
        reason = request.POST.get("reason", "").strip()
        if not reason or len(reason) > 300:
            problem = (
                gettext("Say why this version should serve: it is kept with the promotion.")
                if not reason
                else gettext("At most 300 characters.")
            )
            return self._page(request, version, reason=reason[:1000], problem=problem)
        try:
            found = promotion.check(version, by=request.user, reason=reason)
        except (registry.NotPromotable, ArtifactError, OSError) as refusal:
            return self._page(request, version, reason=reason, problem=str(refusal))
        self.log_change(
            request,
            version,
            gettext("Checked for promotion (%(lower)s): %(reason)s") % {"lower": found.get_state_display().lower(), "reason": reason},
        )
        return HttpResponseRedirect(reverse("admin:loans_promotioncheck_change", args=[found.pk]))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        version = self.seen_or_refused(request, object_id)
        if version is None:
            return self.gone(request, object_id)
        return self._page(request, version)

    def _page(self, request: HttpRequest, version: ModelVersion, *, reason: str = "", problem: str = "") -> HttpResponse:
        may_promote = request.user.has_perm(PROMOTES) and not version.is_champion
        serving = ModelVersion.objects.filter(kind=version.kind).defer("report").champion(version.kind) if not version.is_champion else None
        context = {
            "title": str(version),
            "original": version,
            "version": version,
            "tone": STATE_TONES.get(version.state, "default"),
            "synthetic": SYNTHETIC if version.synthetic else "",
            "serving": serving,
            "links": self.links(request, version),
            "promote_url": reverse("admin:loans_modelversion_promote", args=[version.pk]) if may_promote else "",
            "reason": reason,
            "problem": problem,
            "life": self.life(request, version),
        }
        if version.kind == ModelKind.LOAN_AMOUNT:
            return self.render(request, "admin/loans/modelversion/amount.html", context | {"page": amount_model_page(version)})
        if version.kind == ModelKind.SEGMENTS:
            context |= segment.context(version)
            return self.render(request, segment.TEMPLATE, context | {"cards": self.placed(version, context["cards"])})
        if version.kind == ModelKind.FRAUD:
            page = {"page": fraud_model_page(version), "selected": SELECTED}
            return self.render(request, "admin/loans/modelversion/fraud.html", context | page)
        page = model_page(version)
        cards = self.placed(version, risk_cards(version, page))
        context |= {
            "page": page,
            "edits": self.edits(request, version),
            "fairness": fairness(version),
            "cards": [card for card in cards if not card.wide],
            "wide_cards": [card for card in cards if card.wide],
        }
        return self.render(request, "admin/loans/modelversion/page.html", context)

    @display(description=_("Version"), ordering="version")
    def version_shown(self, obj: ModelVersion) -> str:
        return str(obj)

    @display(description=_("State"))
    def state_shown(self, obj: ModelVersion) -> SafeString:
        shown = badge(obj.get_state_display(), STATE_TONES.get(obj.state, "default"))
        return (
            format_html('{} <span class="ld-badge ld-synthetic" title="{}">synthetic</span>', shown, SYNTHETIC) if obj.synthetic else shown
        )

    @display(description=_("Chosen rung"))
    def algorithm_shown(self, obj: ModelVersion) -> str:
        return (obj.title or code(obj.algorithm)) + (gettext(", edited by hand") if obj.edits else "")

    @display(description=_("AUC (chance 0.5)"))
    def auc(self, obj: ModelVersion) -> SafeString | str:
        if obj.auc_value is None:
            return "–"
        interval = f"{number(float(obj.auc_low))}–{number(float(obj.auc_high))}" if obj.auc_low and obj.auc_high else ""
        return format_html('<span class="ld-number">{}</span><span class="ld-under">{}</span>', number(float(obj.auc_value)), interval)

    @display(description=_("Default rate"))
    def default_rate(self, obj: ModelVersion) -> str:
        return percent(float(obj.rate)) if obj.rate else "–"

    @display(description=_("Learned from"))
    def trained_on(self, obj: ModelVersion) -> str:
        what = "applications" if obj.kind in (ModelKind.SEGMENTS, ModelKind.FRAUD) else "loans"
        return f"{whole(int(float(obj.loans)))} {what}" if obj.loans else "–"


def _auc(part: str) -> Coalesce:
    """Of a fraud model that of what serves: with what was learned, or by stated weights."""
    judged = (KT(f"report__judged__figures__{name}__auc__{part}") for name in ("merged", "weights"))
    return Coalesce(KT(f"report__champion__figures__auc__{part}"), *judged)
