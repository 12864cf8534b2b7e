"""One application's fraud assessment: link features as of its time, every rule's trace, the models' scores, and a flag where they say so.

It is stored in the scoring transaction, behind a savepoint: whatever goes wrong here is undone to there, the risk score stands, and the
assessment says "not assessed" until the sweeper has tried again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.db.models import Q
from django.db.models.functions import Now

from loans.models import AssessmentState, FraudAssessment, FraudRule, LoanApplication, ModelVersion
from loans.queries.columns import id_list
from loans.queries.frames import facts_of
from loans.queries.fraud_links import link_features
from loans.services import policy
from loans.services.fraud import flags, links, model
from loans.services.fraud.rules import install_pack, kept
from mlcore.fraud.facts import LINK_NAMES
from mlcore.fraud.findings import Terms
from mlcore.fraud.merge import Judged, Verdict, merge
from mlcore.fraud.rules import Rule, RuleError, Trace, trace_all
from mlcore.fraud.sampling import is_sampled

logger = logging.getLogger(__name__)

STATEMENT_SECONDS = 10
MOST_AT_ONCE = 200
MOST_A_SWEEP = 4_000
AS_COLUMNS_FROM = 20
MOST_LINKED_A_SWEEP = 10_000
WRITTEN = ["state", "score", "calibrated", "unusual", "probability", "features", "trace", "rule_set", "model", "assessed_at", "error"]


@dataclass(frozen=True)
class _Subject:
    application: LoanApplication
    features: dict[str, float | None]
    facts: dict[str, Any]
    traces: list[Trace]
    verdict: Verdict
    judged: Judged


def link_quietly() -> None:
    """Link what waits, in a transaction of its own, so that other workers see it at once. A failure is logged; the sweeper repeats it."""
    try:
        links.link_waiting()
    except Exception as error:
        logger.warning("Linking applications failed: %s", type(error).__name__)


def assess_quietly(application_ids: Sequence[int]) -> int:
    """Assess those that can be, inside the caller's transaction; returns how many. Never raises, never breaks that transaction."""
    done = 0
    for start in range(0, len(application_ids), MOST_AT_ONCE):
        batch = list(application_ids[start : start + MOST_AT_ONCE])
        try:
            with transaction.atomic(), _bounded():
                done += assess(batch)
        except Exception as error:
            logger.warning("Fraud assessment of %d applications failed: %s", len(batch), type(error).__name__)
            _note_failure(batch, error)
    return done


def assess(application_ids: Sequence[int]) -> int:
    """Assess these applications now and store it. Left alone are those that are not linked, or follow one that is not. Call inside a
    transaction.
    """
    ready = _ready(application_ids)
    if not ready:
        return 0
    terms = Terms(tuple(rules_in_force()), LINK_NAMES)
    rule_set = kept(terms)
    version, subjects = _judge(ready, terms.rules)
    rows = [
        FraudAssessment(
            application_id=subject.application.pk,
            state=AssessmentState.ASSESSED,
            score=subject.verdict.score,
            calibrated=subject.verdict.calibrated,
            unusual=subject.judged.unusual,
            probability=subject.judged.probability,
            features=terms.short_features(subject.features),
            trace=terms.short_trace(subject.traces, subject.facts),
            rule_set_id=rule_set,
            model=version,
            assessed_at=Now(),
            error="",
        )
        for subject in subjects
    ]
    FraudAssessment.objects.bulk_create(rows, update_conflicts=True, unique_fields=["application"], update_fields=WRITTEN)
    loss_given_default = policy.in_force().policy.loss_given_default
    found = [
        (subject.application, subject.verdict, expected_loss(subject.application, subject.verdict, loss_given_default))
        for subject in subjects
    ]
    share, key = settings.FRAUD_SAMPLE_SHARE, settings.BLIND_INDEX_KEY
    flags.raise_many(
        [each for each in found if each[1].flagged],
        [each for each in found if not each[1].flagged and is_sampled(each[0].external_reference, share, key)],
    )
    return len(subjects)


def expected_loss(application: LoanApplication, verdict: Verdict, loss_given_default: float) -> Decimal:
    return (application.amount * Decimal(str(round(verdict.score * loss_given_default, 6)))).quantize(Decimal("0.01"))


def _ready(application_ids: Sequence[int]) -> list[LoanApplication]:
    return list(LoanApplication.objects.filter(pk__in=ready_ids(application_ids)).order_by("pk"))


def ready_ids(application_ids: Sequence[int]) -> list[int]:
    """Locked and linked, with everything before them linked as well: an earlier application that is still unlinked would go unseen."""
    with connection.cursor() as cursor:
        # By hand: the ORM takes longer to write down four thousand ids than the server to lock their rows.
        cursor.execute(
            "SELECT application_id FROM loans_fraudassessment WHERE application_id = ANY(%s::bigint[]) AND state IN"
            " ('linked', 'failed', 'assessed') ORDER BY application_id FOR UPDATE SKIP LOCKED",
            [id_list(application_ids)],
        )
        locked = [pk for (pk,) in cursor.fetchall()]
    earliest = earliest_waiting()
    if earliest is None:
        return locked
    unseen = set(LoanApplication.objects.filter(pk__in=locked, submitted_at__gt=earliest).values_list("pk", flat=True))
    return [pk for pk in locked if pk not in unseen]


def earliest_waiting() -> datetime | None:
    """When the earliest application that is not linked yet was submitted."""
    waiting = FraudAssessment.objects.filter(state=AssessmentState.WAITING).order_by("pk")[: links.BATCH].values("pk")
    return LoanApplication.objects.filter(pk__in=waiting).order_by("submitted_at").values_list("submitted_at", flat=True).first()


def _judge(applications: list[LoanApplication], rules: Sequence[Rule]) -> tuple[ModelVersion | None, list[_Subject]]:
    ids = [application.pk for application in applications]
    features, facts = link_features(ids), facts_of(ids)
    version, judgements = model.judge(ids, features)
    subjects = []
    for application in applications:
        pk = application.pk
        traces, judged = trace_all(rules, facts[pk] | features[pk]), judgements.get(pk, Judged())
        verdict = merge(
            traces,
            unusual=judged.unusual,
            odd=judged.odd,
            probability=judged.probability,
            drivers=judged.drivers,
            labels=judged.labels,
            thresholds=model.thresholds(),
        )
        subjects.append(_Subject(application, features[pk], facts[pk], traces, verdict, judged))
    return version, subjects


def rules_in_force() -> list[Rule]:
    """A rule that can't be read (written past the forms) is left out and logged, and stops no other."""
    rows = list(FraudRule.objects.in_force())
    if not rows and not FraudRule.objects.exists():
        install_pack()  # a new installation; a lender who switched every rule off keeps it so
        rows = list(FraudRule.objects.in_force())
    made = []
    for row in rows:
        try:
            made.append(row.parsed())
        except RuleError as error:
            logger.error("Fraud rule %s v%d is left out: %s", row.code, row.version, error)
    return made


def _assess_fresh(application_ids: list[int]) -> int:
    """Many as columns: what is scored within its request comes in hundreds a second. Where that fails, in small batches by rows."""
    if len(application_ids) >= AS_COLUMNS_FROM:
        from loans.services.bulk.assessed import assess_missed

        try:
            return assess_missed(application_ids)
        except Exception as error:
            logger.warning("Fraud assessment of %d applications as columns failed: %s", len(application_ids), type(error).__name__)
    return assess_quietly(application_ids[:MOST_AT_ONCE])


@contextmanager
def _bounded() -> Iterator[None]:
    """No statement of ours may hold up the score that waits behind it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('statement_timeout')")
        before = cursor.fetchone()[0]
        cursor.execute("SELECT set_config('statement_timeout', %s, true)", [f"{STATEMENT_SECONDS}s"])
        yield
        cursor.execute("SELECT set_config('statement_timeout', %s, true)", [before])


def _note_failure(application_ids: list[int], error: Exception) -> None:
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(
                "UPDATE loans_fraudassessment SET state = 'failed', attempts = least(attempts + 1, 30000), error = %s, due_at ="
                " clock_timestamp() + make_interval(secs => least(3600, power(2, least(attempts, 12))))"
                " WHERE application_id = ANY(%s) AND state IN ('linked', 'failed')",
                [type(error).__name__, application_ids],
            )
    except DatabaseError as worse:
        logger.error("The failure could not be noted either: %s", type(worse).__name__)


def sweep(*, most: int = MOST_A_SWEEP) -> tuple[int, int]:
    """One look by the sweeper: link what waits, assess what was missed. Returns (linked, assessed). Never raises: it sweeps again."""
    try:
        return _sweep(most)
    except Exception as error:
        logger.warning("Sweeping for fraud assessments failed: %s", type(error).__name__)
        return 0, 0


def _sweep(most: int) -> tuple[int, int]:
    linked = 0
    while linked < MOST_LINKED_A_SWEEP:
        done = links.link_waiting()
        linked += done
        if done < links.BATCH:
            break
    due = FraudAssessment.objects.filter(Q(state=AssessmentState.LINKED) | Q(state=AssessmentState.FAILED), due_at__lte=Now())
    # An application that waits for its score is assessed with it; only one that has had time for that was missed.
    missed = list(due.order_by("due_at", "pk").values_list("pk", "attempts")[:most])
    fresh, failed = [pk for pk, attempts in missed if not attempts], [pk for pk, attempts in missed if attempts]
    assessed = _assess_fresh(fresh) if fresh else 0
    # What failed before is tried alone, so that one that can't be assessed holds up no other.
    for pk in failed[:25]:
        assessed += assess_quietly([pk])
    return linked, assessed
