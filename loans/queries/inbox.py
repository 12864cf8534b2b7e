"""The officer's inbox: which applications, in which order, and who is next. Nothing here counts the whole table."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import F, Q, QuerySet
from django.utils.translation import gettext, gettext_lazy

from loans.models import Applicant, DecisionProposal, LoanApplication, ModelVersion, ProposalState, Status
from loans.queries.words import whole

MOST_COUNTED = 1000
"""A count stops here: "more than 1,000" tells an officer as much as 812,404 does, and costs one short index scan."""
MOST_FOUND = 500
"""Applicants that one search by name looks up."""

VIEWS: dict[str, tuple[str, tuple[str, ...]]] = {
    "decide": (gettext_lazy("To decide"), (Status.NEEDS_REVIEW, Status.OPEN, Status.REFERRED)),
    "waiting": (gettext_lazy("Waiting for score"), (Status.RECEIVED,)),
    "second": (gettext_lazy("Second person"), (Status.NEEDS_REVIEW, Status.OPEN, Status.REFERRED)),
    "offered": ("Offered", (Status.OFFERED,)),
    "decided": ("Decided", (Status.APPROVED, Status.DECLINED, Status.WITHDRAWN)),
    "historical": ("Before Loandesk", (Status.HISTORICAL,)),
    "all": ("All", ()),
}

BANDS: dict[str, tuple[str, float | None, float | None]] = {
    "0-5": ("Below 5%", None, 0.05),
    "5-10": ("5–10%", 0.05, 0.10),
    "10-20": ("10–20%", 0.10, 0.20),
    "20-35": ("20–35%", 0.20, 0.35),
    "35-100": ("35% and above", 0.35, None),
}


@dataclass(frozen=True)
class Waiting:
    """How many there are (`more`: at least MOST_COUNTED were found, so it is more), and since when the oldest waits."""

    count: int
    oldest: datetime | None

    @property
    def more(self) -> bool:
        return self.count >= MOST_COUNTED

    @property
    def in_words(self) -> str:
        return f"{whole(MOST_COUNTED)}+" if self.more else whole(self.count)


def of_view(applications: QuerySet[LoanApplication], name: str) -> QuerySet[LoanApplication]:
    statuses = VIEWS[name][1]
    if name == "second":
        applications = applications.filter(pk__in=DecisionProposal.objects.filter(state=ProposalState.WAITING).values("application"))
    return applications.filter(status__in=statuses) if statuses else applications


def of_band(applications: QuerySet[LoanApplication], band: str) -> QuerySet[LoanApplication]:
    if band == "none":
        return applications.filter(default_probability__isnull=True)
    _, low, high = BANDS[band]
    if low is not None:
        applications = applications.filter(default_probability__gte=low)
    if high is not None:
        applications = applications.filter(default_probability__lt=high)
    return applications


def search(applications: QuerySet[LoanApplication], text: str, *, personal_data: bool) -> QuerySet[LoanApplication]:
    """By the beginning of the reference, and where personal data may be seen by whole name, email, phone or national id.

    Names are encrypted, so only equality (after normalising) can be searched; without the permission they are not searched at
    all, since a hit alone would tell that a person applied.
    """
    text = text.strip()
    if not text:
        return applications
    found = Q(external_reference__startswith=text)
    if text.upper() != text:
        found |= Q(external_reference__startswith=text.upper())
    if personal_data:
        # Looked up first: an OR over two tables would read both of them whole.
        people = list(Applicant.objects.matching(text).values_list("pk", flat=True)[:MOST_FOUND])
        if people:
            found |= Q(applicant__in=people)
    return applications.filter(found)


def neighbour(application: LoanApplication, applications: QuerySet[LoanApplication], *, forward: bool = True) -> LoanApplication | None:
    """Who comes after (or before) this one in the inbox's order; keyset, so as fast in the middle as at the start.

    The application itself need not be in the inbox any more: the one after a case just decided is found just the same.
    """
    p = application.default_probability
    # Within one time the order is: without a score, then the riskiest first, then the older row.
    same_risk = Q(default_probability__isnull=True) if p is None else Q(default_probability=p)
    if forward:
        riskier_or_less = Q(default_probability__isnull=False) if p is None else Q(default_probability__lt=p)
        beyond, within = Q(submitted_at__gt=application.submitted_at), Q(submitted_at__gte=application.submitted_at)
        tie = riskier_or_less | (same_risk & Q(pk__gt=application.pk))
        order = ("submitted_at", F("default_probability").desc(nulls_first=True), "pk")
    else:
        riskier_or_less = Q(pk__in=[]) if p is None else Q(default_probability__gt=p) | Q(default_probability__isnull=True)
        beyond, within = Q(submitted_at__lt=application.submitted_at), Q(submitted_at__lte=application.submitted_at)
        tie = riskier_or_less | (same_risk & Q(pk__lt=application.pk))
        order = ("-submitted_at", F("default_probability").asc(nulls_last=True), "-pk")
    # `within` says nothing new, but it alone lets the index start at this application instead of at the inbox's first.
    found = applications.to_decide().filter(within, beyond | (Q(submitted_at=application.submitted_at) & tie)).order_by(*order)
    return found.only("pk", "external_reference").first()


def first(applications: QuerySet[LoanApplication]) -> LoanApplication | None:
    """The one to take next when there is none after the present one: the inbox starts over."""
    return applications.to_decide().inbox_order().only("pk", "external_reference").first()


@dataclass(frozen=True)
class Emptiness:
    """Why a list is empty, and what to do about it."""

    title: str
    text: str
    link: str = ""
    link_text: str = ""


def why_empty(applications: QuerySet[LoanApplication], *, view: str, filtered: bool) -> Emptiness:
    if filtered:
        return Emptiness(
            gettext("Nothing matches"),
            gettext("No application matches this search and these filters. Names, phones and emails are found by the whole of them only."),
            link="?",
            link_text=gettext("Clear search and filters"),
        )
    if not applications.exists():
        return Emptiness(
            gettext("No applications yet"),
            "They come in by the API (POST /api/v1/applications/) or from a file (manage.py import_loans). "
            "The first one shows here within seconds.",
        )
    if view == "decide":
        received = applications.filter(status=Status.RECEIVED).exists()
        if received and ModelVersion.objects.champion() is None:
            return Emptiness(
                gettext("No model serves yet"),
                gettext("Applications have come in and wait for a score. Once a model is trained they are scored and show here."),
                link="model",
                link_text=gettext("Go to the models"),
            )
        if received:
            return Emptiness(
                gettext("Nothing to decide"),
                gettext("Some applications wait for their score and show here within seconds."),
                "?view=waiting",
                gettext("Look at them"),
            )
        return Emptiness(
            gettext("Nothing to decide"),
            gettext("Every application has been decided. New ones show here as they come in."),
            "?view=decided",
            gettext("Look at the decided"),
        )
    return Emptiness(
        gettext("Nothing here"),
        gettext("There are no applications under “%(views)s”.") % {"views": VIEWS[view][0]},
        link="?",
        link_text=gettext("Back to the inbox"),
    )
