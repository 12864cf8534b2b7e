"""The inbox, and the page on which an application is decided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import F, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RelatedDropdownFilter
from unfold.decorators import display
from unfold.views import ChangeList

from loans.admin import charts
from loans.admin.base import DeskAdmin, ReadOnly, badge, grade_badge, post_only
from loans.admin.filters import BandFilter, DaysFilter, FlagFilter, GradeFilter, ViewFilter
from loans.models import LoanApplication, ModelState
from loans.queries import fraud, inbox
from loans.queries.application_page import STATUS_TONES, application_page
from loans.queries.inbox import Emptiness
from loans.queries.words import age, code, days, money, percent
from loans.services import decisions, rulepack, scoring

SEES_PEOPLE = "loans.view_personal_data"
DECIDES = "loans.decide_loanapplication"
OLD_DAYS = 14
"""From then on an age is marked: half of the 30 days that Regulation B gives for a notice."""


@dataclass(frozen=True)
class Attempt:
    """What an officer sent, and why it was not accepted: shown again with his inputs kept."""

    outcome: str = ""
    reason: str = ""
    note: str = ""
    error: str = ""
    field: str = ""


@dataclass(frozen=True)
class Suggested:
    code: str
    text: str
    note: str = ""


@dataclass(frozen=True)
class DecisionForm:
    outcome: str
    label: str
    key: str
    tone: str
    explain: str
    reasons: list[Any]
    suggested: list[Suggested]
    attempt: Attempt
    blocked: str = ""
    against: str = ""

    @property
    def open(self) -> bool:
        return self.attempt.outcome == self.outcome


FORMS = (
    ("approve", "Approve", "a", "success", "Final. The loan may be paid out."),
    ("decline", "Decline", "d", "danger", "Final. The reason goes into the applicant's notice."),
    ("refer", "Refer", "r", "warning", "Stays in the inbox as “referred” until somebody approves or declines it."),
)


@admin.register(LoanApplication)
class LoanApplicationAdmin(ReadOnly, DeskAdmin):
    ordering = ("submitted_at", F("default_probability").desc(nulls_first=True), "pk")
    list_display = ("external_reference", "applicant_name", "amount_shown", "purpose_shown", "waiting", "risk", "status_shown")
    list_filter = (
        ViewFilter,
        GradeFilter,
        BandFilter,
        FlagFilter,
        ("product", RelatedDropdownFilter),
        ("channel", ChoicesDropdownFilter),
        ("submitted_at", DaysFilter),
    )
    search_fields = ("external_reference",)
    search_help_text = "Reference, or a whole name, phone or email"
    list_before_template = "loans/inbox_views.html"
    list_after_template = "loans/inbox_hints.html"

    # --- the list ---------------------------------------------------------------------------------------------------------

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return LoanApplication.objects.visible_to(request.user)

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        return tuple(name for name in self.list_display if name != "applicant_name" or request.user.has_perm(SEES_PEOPLE))

    @classmethod
    def by_risk(cls, *, people: bool) -> str:
        """The query that sorts the list by risk: its columns are numbered as this reader sees them."""
        return f"?o={[name for name in cls.list_display if people or name != 'applicant_name'].index('risk')}"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        base = super().get_changelist(request, **kwargs)
        people = request.user.has_perm(SEES_PEOPLE)
        related = ("product", "applicant") if people else ("product",)
        wanted = [
            "external_reference",
            "submitted_at",
            "amount",
            "purpose",
            "status",
            "default_probability",
            "grade",
            "synthetic",
            "product__name",
        ]

        class Inbox(base):
            def apply_select_related(self, queryset: QuerySet) -> QuerySet:
                # Only the columns that a row shows, so that one name a row is decrypted and nothing else.
                return queryset.select_related(*related).only(*wanted, *(["applicant__name"] if people else []))

            @property
            def current_view(self) -> str:
                return next((spec.value() for spec in self.filter_specs if isinstance(spec, ViewFilter)), "decide")

            @property
            def views(self) -> list[tuple[str, str, bool]]:
                """(title, link, whether it is this one): the same search under another status."""
                return [
                    (title, self.get_query_string({"view": name}, ["p"]), name == self.current_view)
                    for name, (title, _) in inbox.VIEWS.items()
                ]

        return Inbox

    def is_synthetic(self, row: LoanApplication) -> bool:
        return row.synthetic

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, {"title": "Inbox", **(extra_context or {})})

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> tuple[QuerySet, bool]:
        return inbox.search(queryset, search_term, personal_data=request.user.has_perm(SEES_PEOPLE)), False

    def emptiness(self, request: HttpRequest, changelist: ChangeList) -> Emptiness:
        view = changelist.current_view
        others = set(changelist.filter_params) - {"view", "p", "o"}
        found = inbox.why_empty(
            self.get_queryset(request), view=view if view in inbox.VIEWS else "all", filtered=bool(others or view not in inbox.VIEWS)
        )
        if found.link == "model":
            may = request.user.has_perm("loans.view_modelversion")
            return Emptiness(found.title, found.text, reverse("admin:loans_modelversion_changelist") if may else "", found.link_text)
        return found

    @display(description="Applicant")
    def applicant_name(self, obj: LoanApplication) -> str:
        return (obj.applicant.name if obj.applicant_id else "") or "–"

    @display(description="Amount", ordering="amount")
    def amount_shown(self, obj: LoanApplication) -> SafeString:
        return format_html('<span class="ld-number">{}</span>', money(obj.amount))

    @display(description="Product, purpose")
    def purpose_shown(self, obj: LoanApplication) -> SafeString:
        product = obj.product.name if obj.product_id else ""
        purpose = code(obj.purpose) if obj.purpose else ""
        if product and purpose:
            return format_html('{}<span class="ld-under">{}</span>', product, purpose)
        return format_html("{}", product or purpose or "–")

    @display(description="Submitted", ordering="submitted_at")
    def waiting(self, obj: LoanApplication) -> SafeString:
        now = timezone.now()
        old = obj.is_undecided and days(obj.submitted_at, now) >= OLD_DAYS
        return format_html(
            '<span class="{}">{}</span><span class="ld-under">{}</span>',
            "ld-late" if old else "",
            f"{age(obj.submitted_at, now)} ago" if age(obj.submitted_at, now) != "just now" else "just now",
            f"{obj.submitted_at:%Y-%m-%d}",
        )

    @display(description="Default probability", ordering=F("default_probability").desc(nulls_last=True))
    def risk(self, obj: LoanApplication) -> SafeString:
        if obj.default_probability is None:
            return mark_safe('<span class="ld-subtle">no score</span>')
        return format_html('{} <span class="ld-number">{}</span>', grade_badge(obj.grade), percent(obj.default_probability))

    @display(description="Status", ordering="status")
    def status_shown(self, obj: LoanApplication) -> SafeString:
        shown = badge(obj.get_status_display(), STATUS_TONES.get(obj.status, "default"))
        return (
            format_html('{} <span class="ld-badge ld-synthetic" title="Made up by the demo generator">synthetic</span>', shown)
            if obj.marked
            else shown
        )

    # --- the page ---------------------------------------------------------------------------------------------------------

    def custom_paths(self) -> list[URLPattern]:
        return [
            self.at("<int:object_id>/decide/", self.decide_view, "decide"),
            self.at("<int:object_id>/score/", self.score_view, "score"),
        ]

    def get_object(self, request: HttpRequest, object_id: Any, from_field: str | None = None) -> LoanApplication | None:
        related = ["product", "submitted_by", "import_batch"]
        if request.user.has_perm(SEES_PEOPLE):
            related.append("applicant")
        try:
            return self.get_queryset(request).select_related(*related).get(pk=int(object_id))
        except (LoanApplication.DoesNotExist, ValueError, OverflowError):
            return None

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        application = self.seen_or_refused(request, object_id)
        if application is None:
            return self.gone(request, str(object_id))
        return self._page(request, application, Attempt())

    @post_only
    def decide_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        application = self.seen_or_refused(request, str(object_id), DECIDES)
        if application is None:
            return self.gone(request, str(object_id))
        sent = Attempt(*(request.POST.get(name, "")[:5000] for name in ("outcome", "reason", "note")))
        seen = request.POST.get("seen_prediction", "")
        try:
            decision = decisions.decide(
                application.pk,
                officer=request.user,
                outcome=sent.outcome,
                reason=sent.reason,
                note=sent.note,
                seen_prediction=int(seen) if seen.isdecimal() else None,
            )
        except rulepack.UnknownReason:
            return self._refused(request, application, sent, "Choose a reason from the list.", "reason")
        except decisions.DecisionRefused as refusal:
            return self._refused(request, application, sent, str(refusal), refusal.field or "")
        self._say_decided(request, application, decision)
        return HttpResponseRedirect(self._address(request, application))

    def _refused(self, request: HttpRequest, application: LoanApplication, sent: Attempt, error: str, field: str) -> HttpResponse:
        """The page as it is now (somebody else may have decided meanwhile), with what was sent."""
        application.refresh_from_db(fields=["status", "default_probability", "grade"])
        return self._page(request, application, Attempt(sent.outcome, sent.reason, sent.note, error, field))

    def _say_decided(self, request: HttpRequest, application: LoanApplication, decision: Any) -> None:
        done = {"approve": "approved", "decline": "declined", "refer": "referred"}[decision.outcome]
        visible = self.get_queryset(request)
        following = inbox.neighbour(application, visible) or inbox.first(visible.exclude(pk=application.pk))
        text = format_html("{} {}: {}.", application, done, decision.reason_text)
        if following is not None:
            link = self._address(request, following)
            text = format_html('{} <a class="ld-link" href="{}" data-key="n">Next in inbox: {} →</a>', text, link, following)
        else:
            text = format_html("{} The inbox is empty now.", text)
        self.message_user(request, text, messages.SUCCESS)

    @post_only
    def score_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        application = self.seen_or_refused(request, str(object_id), DECIDES)
        if application is None:
            return self.gone(request, str(object_id))
        if not application.is_undecided:
            self.message_user(request, "It is decided; a new score would change nothing.", messages.WARNING)
        else:
            with transaction.atomic():
                scoring.request_score(application)
            self.message_user(request, "Asked for a score. Load the page again in a few seconds.")
        return HttpResponseRedirect(self._address(request, application))

    def _address(self, request: HttpRequest, application: LoanApplication) -> str:
        """The application's page, with the list's filters carried along for the way back."""
        kept = request.GET.get("_changelist_filters", "")
        return self.page_of(application) + (f"?{urlencode({'_changelist_filters': kept})}" if kept else "")

    def _page(self, request: HttpRequest, application: LoanApplication, attempt: Attempt) -> HttpResponse:
        user = request.user
        page = application_page(
            application,
            self.get_queryset(request),
            now=timezone.now(),
            personal_data=user.has_perm(SEES_PEOPLE),
            outcomes=user.has_perm("loans.view_loanoutcome"),
        )
        may_decide = user.has_perm(DECIDES)
        kept = request.GET.get("_changelist_filters", "")
        newer = page.risk and page.risk.prediction.model_version.state != ModelState.CHAMPION and application.is_undecided
        context = {
            "title": str(application),
            "original": application,
            "page": page,
            "dots": charts.dots(page.risk.many, page.risk.of) if page.risk else None,
            "fraud": fraud.flags_for(application) if user.has_perm("loans.view_fraudflag") else None,
            "may_decide": may_decide and application.is_decidable,
            "why_not": "" if may_decide else "Your role may look at applications, not decide them.",
            "may_score": may_decide and (newer or bool(page.no_score and page.no_score.may_ask)),
            "attempt": attempt,
            "forms": decision_forms(page, attempt) if may_decide and application.is_decidable else [],
            "decide_url": reverse("admin:loans_loanapplication_decide", args=[application.pk])
            + (f"?{urlencode({'_changelist_filters': kept})}" if kept else ""),
            "score_url": reverse("admin:loans_loanapplication_score", args=[application.pk]),
            "inbox_url": self.the_list() + (f"?{kept}" if kept else ""),
            "next_url": self._address(request, page.next) if page.next else "",
            "previous_url": self._address(request, page.previous) if page.previous else "",
            "decisions_url": f"{reverse('admin:loans_decision_changelist')}?{urlencode({'q': application.external_reference})}",
            "model_url": reverse("admin:loans_modelversion_change", args=[page.worth.version.pk])
            if page.worth and user.has_perm("loans.view_modelversion")
            else "",
        }
        return self.render(request, "admin/loans/loanapplication/page.html", context)


def decision_forms(page: Any, attempt: Attempt) -> list[DecisionForm]:
    pack = rulepack.in_force()
    made = []
    for outcome, label, key, tone, explain in FORMS:
        if outcome == "refer" and not page.application.can_become("referred"):
            continue
        blocked = "Without a score it can't be approved." if outcome == "approve" and page.risk is None else ""
        mine = attempt if attempt.outcome == outcome else Attempt()
        reasons = pack.reasons[outcome]
        suggested = _suggested(page.risk.against, reasons) if outcome == "decline" and page.risk else []
        named = {each.code for each in suggested if not each.note}
        others = [reason for reason in reasons.values() if reason.code not in named]
        advice = page.risk.advice if page.risk else None
        opposed = advice is not None and (advice.outcome, outcome) in {("approve", "decline"), ("decline", "approve")}
        against = (
            f"Against the advice ({advice.label.lower()}): it is kept as an override. Say in the note what the model can not know."
            if opposed
            else ""
        )
        made.append(DecisionForm(outcome, label, key, tone, explain, others, suggested, mine, blocked, against))
    return made


def _suggested(against: list[Any], reasons: dict[str, Any]) -> list[Suggested]:
    """What the model holds against the applicant, as reasons of the rule pack; one without a code of its own goes into the note."""
    made: list[Suggested] = []
    for bar in against:
        if bar.code in reasons and not reasons[bar.code].note_required:
            made.append(Suggested(bar.code, reasons[bar.code].text))
        elif "other" in reasons:
            made.append(Suggested("other", bar.text, bar.text))
    return list(dict.fromkeys(made))
