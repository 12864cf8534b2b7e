"""The promotion gate: a version takes over only after a check on later loans, and then by a second person's approval or a written rule.

`check` asks the questions and keeps the answers; `approve` lets a version that passed serve; `check_due` does both by the clock, where the
policy in force says so. The database holds the same rules once more (migration 0024).
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from loans.models import (
    CheckState,
    FindingStatus,
    ModelAction,
    ModelKind,
    ModelState,
    ModelVersion,
    Prediction,
    PromotedHow,
    PromotionCheck,
    PromotionFinding,
    PromotionPolicy,
)
from loans.models.promotion import LIMITS
from loans.services import alerts, comparison, registry, shadow

if TYPE_CHECKING:
    from mlcore.gate import Finding

logger = logging.getLogger(__name__)

CANDIDATES = (ModelState.CANDIDATE, ModelState.CHALLENGER, ModelState.SHADOW, ModelState.RETIRED)
SHADOW_SHARE = 0.95
"""Of what was scored while it was in shadow, the share that it has to have scored too: fewer means that it fails."""


class NotApprovable(registry.NotPromotable):
    """This person can't approve this check, or nobody can any more."""


def policy_for(kind: str) -> PromotionPolicy:
    """The limits in force; until the lender writes some, those of the model's defaults, unsaved."""
    return PromotionPolicy.objects.in_force(kind) or PromotionPolicy(kind=kind, reason=_("No promotion policy is written yet."))


def check(version: ModelVersion, *, by: object | None, reason: str) -> PromotionCheck:
    """Ask whether this version may take over, and keep the findings. Takes seconds: two models score up to 20,000 applications.

    Raises NotPromotable where it serves already or nothing does (the first of a kind serves without), and ArtifactError where one of the
    two can't be loaded.
    """
    serving = ModelVersion.objects.champion(version.kind)
    if version.state not in CANDIDATES or serving is None or serving.pk == version.pk:
        raise registry.NotPromotable(
            f"{version} serves already." if version.is_champion else _("%(version)s can't be promoted.") % {"version": version}
        )
    limits = policy_for(version.kind)
    registry.load(version)
    evidence, findings = _findings(version, serving, limits)
    failed = any(finding.status == FindingStatus.FAILED for finding in findings)
    by_rule = limits.pk is not None and limits.automatic and all(finding.status == FindingStatus.PASSED for finding in findings)
    with transaction.atomic():
        made = PromotionCheck.objects.create(
            version=version,
            against=serving,
            policy=limits if limits.pk else None,
            limits={name: getattr(limits, name) for name in LIMITS},
            state=CheckState.FAILED if failed else CheckState.OPEN,
            automatic=by_rule,
            evidence=evidence,
            requested_by=by,
            reason=reason,
        )
        PromotionFinding.objects.bulk_create(
            [PromotionFinding(check_run=made, position=number, **finding.to_json()) for number, finding in enumerate(findings)]
        )
        words = _("did not pass: ") + ", ".join(each.title.lower() for each in findings if each.status == FindingStatus.FAILED)
        registry.record(version, ModelAction.CHECKED, by=by, reason=reason, check=made.pk, outcome=words if failed else "passed")
        if failed:
            alerts.was_judged(version, _("Checked again, it did not pass."))
        elif not by_rule:
            alerts.waits_for_approval(version, made.created_at + timedelta(days=limits.valid_days))
    return made


def _findings(version: ModelVersion, serving: ModelVersion, limits: PromotionPolicy) -> tuple[dict[str, Any], list[Finding]]:
    from mlcore import gate

    findings = [
        gate.Finding(
            "artifact",
            "Artifact",
            "passed",
            _("Signature, digest and golden rows of %(version)s are as they were when it was stored.") % {"version": version},
        ),
        _data(version),
    ]
    evidence: dict[str, Any] = {}
    if version.kind == ModelKind.DEFAULT_RISK:
        later = comparison.applications(after=comparison.later_than(version, serving), known=True)
        evidence = comparison.compare(serving, version, later)
        asked = gate.Limits(**{name: getattr(limits, name) for name in gate.Limits.__dataclass_fields__})
        findings += [*gate.judge(evidence, asked), *_shadow(version, limits)]
    elif version.kind == ModelKind.LOAN_AMOUNT:
        evidence, finding = _amounts(version, serving, limits)
        findings.append(finding)
    else:
        words = _("Nothing that becomes known later says which version of this kind is right. Compare their reports.")
        findings.append(gate.Finding("outcomes", _("Later outcomes"), "look", words))
    return evidence, findings


def _data(version: ModelVersion) -> Finding:
    """What the leakage guard and the data quality report of its training said."""
    from mlcore import gate

    report = version.report if isinstance(version.report, dict) else {}
    leakage, quality = report.get("leakage") or {}, report.get("quality") or {}
    errors = [row.get("message", "") for row in quality.get("findings") or [] if row.get("severity") == "error"]
    leaks = [row.get("message", "") for row in leakage.get("findings") or [] if row.get("severity") == "leak"]
    if leakage.get("blocking") or errors or leaks:
        words = _("A person has to look before this version serves: ") + " ".join([*leaks, *errors] or [_("the leakage guard says so.")])
        return gate.Finding("data", _("Data it learned from"), "look", words)
    return gate.Finding("data", _("Data it learned from"), "passed", _("No column seems to know the outcome, and no row is impossible."))


def _shadow(version: ModelVersion, limits: PromotionPolicy) -> list[Finding]:
    """Long enough in shadow, on enough applications, and without failing on any."""
    from mlcore import gate

    days = shadow.time_in(version).total_seconds() / 86_400
    scored = Prediction.objects.filter(model_version=version, shadow=True)
    scores = scored.count()
    enough = days >= limits.shadow_days and scores >= limits.shadow_scores
    words = _(
        "%(days)s days in shadow and %(scores)s applications scored; at least %(shadow_days)s days and "
        "%(shadow_scores)s applications are asked for."
    ) % {
        "days": f"{days:.1f}",
        "scores": f"{scores:,}",
        "shadow_days": f"{limits.shadow_days:g}",
        "shadow_scores": f"{limits.shadow_scores:,}",
    }
    found = [
        gate.Finding("shadow", _("Time in shadow"), "passed" if enough else "failed", words, {"days": round(days, 2), "scores": scores}),
    ]
    began = version.events.filter(action=ModelAction.SHADOW_STARTED).values_list("at", flat=True).first()
    last = scored.order_by("-pk").values_list("created_at", flat=True).first()
    if began is not None and last is not None:
        # Of its latest spell: what the serving versions scored until its last score.
        scores = scored.filter(created_at__gte=began).count()
        beside = Prediction.objects.filter(kind=version.kind, shadow=False, created_at__gte=began, created_at__lte=last).count()
        share = min(scores / beside, 1.0) if beside else 1.0
        words = _(
            "It scored %(share)s of the %(beside)s applications that were scored meanwhile; at least %(shadow_share)s are asked for."
        ) % {"share": f"{share:.1%}", "beside": f"{beside:,}", "shadow_share": f"{SHADOW_SHARE:.0%}"}
        passed = share >= SHADOW_SHARE
        found.append(
            gate.Finding("shadow_share", _("Scores without failing"), "passed" if passed else "look", words, {"share": round(share, 4)})
        )
    return found


def _amounts(version: ModelVersion, serving: ModelVersion, limits: PromotionPolicy) -> tuple[dict[str, Any], Finding]:
    from loans.queries.frames import window_frames
    from mlcore import gate
    from mlcore.amount.compare import compare_amounts

    models = [registry.glimpse(each) for each in (serving, version)]
    later = comparison.applications(after=comparison.later_than(version, serving), known=True)
    rows = window_frames([model.schema for model in models], later, most=comparison.MOST)
    repaid = comparison.labels_of(rows) == 0 if len(rows.submitted_at) else []
    known = int(sum(repaid))
    title = _("Range no worse on later loans")
    if known < limits.least_rows:
        words = _("%(known)s later loans that were repaid; at least %(least_rows)s are asked for.") % {
            "known": f"{known:,}",
            "least_rows": f"{limits.least_rows:,}",
        }
        return {}, gate.Finding("amounts", title, "failed", words, {"known": known})
    frames = tuple(frame[repaid].reset_index(drop=True) for frame in rows.frames)
    found = compare_amounts(*models, frames, rows.submitted_at[repaid].reset_index(drop=True), rows.amount[repaid])
    high = found["one_sided"]["high"]
    passed = high is not None and high < limits.brier_margin * found["first"]
    words = _(
        "Pinball loss %(second)s beside %(first)s on %(known)s later loans (less is better); with 95%% confidence "
        "not worse by more than %(what)s, and less than %(brier_margin)s is asked for. The range holds "
        "%(coverage)s of the amounts, the serving one's %(coverage_2)s."
    ) % {
        "second": f"{found['second']:,.1f}",
        "first": f"{found['first']:,.1f}",
        "known": f"{known:,}",
        "what": f"{max(high, 0) / found['first']:.1%}",
        "brier_margin": f"{limits.brier_margin:.1%}",
        "coverage": f"{found['coverage'][1]:.0%}",
        "coverage_2": f"{found['coverage'][0]:.0%}",
    }
    return found, gate.Finding("amounts", title, "passed" if passed else "failed", words, found)


def why_not(found: PromotionCheck, user: Any) -> str:
    """Why this person can't approve this check; empty where he can. Whether he holds the permission is for the caller to ask."""
    if found.state != CheckState.OPEN:
        return _("This check is over: %(lower)s.") % {"lower": found.get_state_display().lower()}
    limits = found.limits
    if timezone.now() - found.created_at > timedelta(days=limits.get("valid_days", 7)):
        return _("This check is older than %(limits)s days. Check again: more is known by now.") % {"limits": limits.get("valid_days", 7)}
    serving = ModelVersion.objects.defer("report").champion(found.version.kind)
    if serving is None or serving.pk != found.against_id:
        return _("%(against)s does not serve any more, which this check compared with. Check again.") % {"against": found.against}
    if user is None:
        return "" if found.automatic else _("A person has to approve this.")
    trainer = found.version.created_by_id
    if user.pk == trainer:
        return _("You trained this version: a second person has to approve it.")
    if trainer is None and user.pk == found.requested_by_id:
        return _("Nobody trained this version by hand and you asked for its promotion: a second person has to approve it.")
    return ""


@transaction.atomic
def approve(found: PromotionCheck, *, by: object | None, reason: str) -> ModelVersion:
    """Let the checked version serve. by: the second person, or None for one that may end by rule. Raises NotApprovable, ArtifactError."""
    registry.lock(found.version.kind)
    found = PromotionCheck.objects.select_for_update(of=("self",)).select_related("version", "against").get(pk=found.pk)
    refusal = why_not(found, by)
    if refusal:
        raise NotApprovable(refusal)
    found.state, found.decided_by, found.decided_at, found.decision_reason = CheckState.APPROVED, by, timezone.now(), reason
    try:
        with transaction.atomic():
            found.save(update_fields=["state", "decided_by", "decided_at", "decision_reason"])
    except IntegrityError as error:
        raise NotApprovable(str(error).partition("\n")[0]) from error
    registry.record(found.version, ModelAction.APPROVED, by=by, reason=reason, check=found.pk)
    alerts.was_judged(found.version, _("It was approved."))
    how = PromotedHow.AUTOMATIC if by is None else PromotedHow.APPROVED
    return registry.promote(found.version, by=by, reason=reason, how=how)


@transaction.atomic
def refuse(found: PromotionCheck, *, by: object, reason: str) -> PromotionCheck:
    """Turn a version down that passed: the trainer may too."""
    found = PromotionCheck.objects.select_for_update(of=("self",)).select_related("version").get(pk=found.pk)
    if found.state != CheckState.OPEN:
        raise NotApprovable(_("This check is over: %(lower)s.") % {"lower": found.get_state_display().lower()})
    found.state, found.decided_by, found.decided_at, found.decision_reason = CheckState.REFUSED, by, timezone.now(), reason
    found.save(update_fields=["state", "decided_by", "decided_at", "decision_reason"])
    registry.record(found.version, ModelAction.REFUSED, by=by, reason=reason, check=found.pk)
    alerts.was_judged(found.version, _("It was refused."))
    return found


def check_due() -> int:
    """By the clock: check versions that have been in shadow for the set time, and let those serve that may by rule. Returns how many were.

    A version that did not pass is asked again after a day; one that waits for a person is not asked again while its check is valid.
    """
    done = 0
    for version in ModelVersion.objects.filter(state=ModelState.SHADOW).defer("report").order_by("pk"):
        limits = policy_for(version.kind)
        if shadow.time_in(version) < timedelta(days=limits.shadow_days):
            continue
        last = version.checks.order_by("-pk").first()
        wait = timedelta(days=limits.valid_days if last is not None and last.state == CheckState.OPEN else 1)
        if last is not None and timezone.now() - last.created_at < wait:
            continue
        try:
            found = check(version, by=None, reason=_("In shadow for the set time."))
            done += 1
            if found.automatic:
                approve(found, by=None, reason=_("Passed everything, and the promotion policy lets it serve by rule."))
        except Exception as error:
            # One version that can't be loaded or judged must not keep the others waiting.
            logger.error("%s could not be checked: %s", version, error)
    return done
