"""Adverse action notices: drafted when an application is declined, corrected and sent by a person.

Deadlines and what is no reason come from the rule pack; what the letter says of the lender, the agency and the applicant's rights comes
from the lender's settings. What is not set is named as missing, and a notice with something missing is not marked as sent.
"""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext, gettext_lazy

from loans.models import AdverseActionNotice, Decision, LoanApplication
from loans.models.fields import BadText, clean_text
from loans.models.notice import MOST_REASONS
from loans.queries.words import day_of
from loans.services import audit, rulepack

MAX_REASON = 200
LENDER_TEXTS = {
    "creditor": ("NOTICE_CREDITOR", gettext_lazy("the creditor's name and address")),
    "agency": ("NOTICE_AGENCY", gettext_lazy("the agency that watches over the creditor, with its address")),
    "rights": ("NOTICE_RIGHTS", gettext_lazy("the text on the applicant's rights")),
}


class NoticeRefused(Exception):
    """The notice can't be saved or sent like this; the message says why."""


@dataclass(frozen=True)
class Letter:
    """What the applicant reads, line by line. missing: what has to be set before it may go out."""

    day: date
    creditor: list[str]
    name: str
    address: list[str]
    request: str
    action: str
    reasons: list[str]
    rights: list[str]
    agency: list[str]
    sources: list[str]
    missing: list[str]


def decision_due(application: LoanApplication) -> date:
    """Until when the applicant has to be told what was decided."""
    return due_after(application.submitted_at)


def due_after(submitted_at: datetime) -> date:
    return (submitted_at + timedelta(days=rulepack.in_force().notice.days)).date()


def draft(decision: Decision) -> AdverseActionNotice:
    """The notice of a decline, in the transaction that records it: the officer's reason first, then what the advice rested on."""
    pack = rulepack.in_force()
    application = decision.application
    offer = application.decisions.filter(outcome="counter").order_by("-pk").first()
    if offer is not None:
        due = (offer.created_at + timedelta(days=pack.notice.offer_days)).date()
    else:
        due = decision_due(application)
    return AdverseActionNotice.objects.create(
        decision=decision,
        application=application,
        reasons=principal_reasons(decision, pack),
        rule_pack=gettext("%(name)s, in force from %(effective_from)s") % {"name": pack.name, "effective_from": pack.effective_from},
        due_on=due,
        **{name: getattr(settings, setting) for name, (setting, _) in LENDER_TEXTS.items()},
        sources=settings.NOTICE_SOURCES,
    )


def principal_reasons(decision: Decision, pack: rulepack.RulePack) -> list[str]:
    """At most four, without repeats and without any that is none."""
    chosen = pack.reasons["decline"].get(decision.reason)
    texts = [decision.note if chosen is not None and chosen.note_required else decision.reason_text]
    prediction = decision.prediction
    if prediction is not None and decision.advice == "decline":
        texts += [str(row.get("text") or "") for row in prediction.knock_outs or []]
        texts += [str(row.get("text") or "") for row in prediction.reasons or [] if row.get("direction") == "against"]
    told = [" ".join(text.split())[:MAX_REASON] for text in texts]
    return list(dict.fromkeys(text for text in told if text and not pack.notice.is_no_reason(text)))[:MOST_REASONS]


def revise(notice_id: int, *, reasons: list[str], by: Any) -> AdverseActionNotice:
    """Other reasons, in the officer's words. The lender's texts are taken anew from the settings. Raises NoticeRefused."""
    with transaction.atomic():
        notice = _unsent(notice_id)
        notice.reasons = _checked(reasons)
        for name, (setting, _) in LENDER_TEXTS.items():
            setattr(notice, name, getattr(settings, setting))
        notice.sources = settings.NOTICE_SOURCES
        notice.save(update_fields=["reasons", "sources", *LENDER_TEXTS])
        audit.record("notice.revised", actor=by, subject=notice.application, notice=notice.pk)
    return notice


def send(notice_id: int, *, by: Any) -> AdverseActionNotice:
    """Note that it went out today, by whom; from here on it can't be changed. Raises NoticeRefused."""
    with transaction.atomic():
        notice = _unsent(notice_id)
        missing = missing_in(notice)
        if missing:
            raise NoticeRefused(gettext("It is incomplete and may not go out like this: %(missing)s.") % {"missing": "; ".join(missing)})
        _checked(notice.reasons)
        now = timezone.now()
        notice.sent_at, notice.sent_by = now, by
        notice.keep_until = months_later(now.date(), rulepack.in_force().notice.keep_months)
        notice.save(update_fields=["sent_at", "sent_by", "keep_until"])
        audit.record("notice.sent", actor=by, subject=notice.application, notice=notice.pk)
    return notice


def _unsent(notice_id: int) -> AdverseActionNotice:
    notice = AdverseActionNotice.objects.select_for_update().get(pk=notice_id)
    if notice.is_sent:
        raise NoticeRefused(
            gettext("It was sent on %(sent_at)s; what the applicant has can't be changed here.") % {"sent_at": day_of(notice.sent_at)}
        )
    return notice


def _checked(reasons: list[str]) -> list[str]:
    try:
        told = list(dict.fromkeys(text for text in (" ".join(clean_text(reason).split()) for reason in reasons) if text))
    except BadText as error:
        raise NoticeRefused(f"A reason {error}.") from error
    if not told:
        raise NoticeRefused(gettext("A notice gives at least one reason."))
    if len(told) > MOST_REASONS:
        raise NoticeRefused(
            gettext("A notice gives at most %(most_reasons)s reasons; more do not help the applicant.") % {"most_reasons": MOST_REASONS}
        )
    for text in told:
        if len(text) > MAX_REASON:
            raise NoticeRefused(
                gettext("A reason has at most %(max_reason)s characters: “%(text)s…” has %(text_2)s.")
                % {"max_reason": MAX_REASON, "text": text[:40], "text_2": len(text)}
            )
        if rulepack.in_force().notice.is_no_reason(text):
            raise NoticeRefused(
                gettext("“%(text)s” is no reason that an applicant may be given: say what lies behind it.") % {"text": text}
            )
    return told


def missing_in(notice: AdverseActionNotice) -> list[str]:
    missing = [f"{what} (setting {setting})" for name, (setting, what) in LENDER_TEXTS.items() if not getattr(notice, name).strip()]
    applicant = notice.application.applicant
    if applicant is None or not applicant.name:
        missing.append(gettext("the applicant's name"))
    return missing


def letter(notice: AdverseActionNotice, *, request: str) -> Letter:
    """As the applicant reads it. request: what was asked for, in words. Only for whoever may see personal data."""
    applicant = notice.application.applicant
    return Letter(
        day=(notice.sent_at or timezone.now()).date(),
        creditor=notice.creditor.splitlines(),
        name=(applicant.name if applicant else "") or "",
        address=[part.strip() for part in (applicant.address if applicant else "").replace("\n", ",").split(",") if part.strip()],
        request=request,
        action=gettext("We have considered your request and can not grant it."),
        reasons=notice.reasons,
        rights=notice.rights.splitlines(),
        agency=notice.agency.splitlines(),
        sources=notice.sources.splitlines(),
        missing=[] if notice.is_sent else missing_in(notice),
    )


def months_later(day: date, months: int) -> date:
    """The same day so many months on, or the month's last where it has no such day."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))
