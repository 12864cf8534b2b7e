"""Fill an empty desk with a made-up lender: past loans with their outcomes, and an inbox that waits for its scores.

Everything is written by COPY in one transaction, personal data encrypted as any other, every application marked as synthetic. The truth
behind it (true probabilities, which applications are a fraud ring's) is not stored: `demo_world` with the same arguments makes it again,
and `external_reference` says which is which.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from django.db import connection, models, transaction

from loans.models import (
    Applicant,
    AttributeDefinition,
    LoanApplication,
    LoanOutcome,
    LoanProduct,
    ProtectedAttributes,
    ScoringJob,
    Status,
)
from loans.models.applicant import INDEXED
from loans.models.crypto import blind_index, name_tokens
from loans.models.fields import APPLICANT_FIELDS, APPLICATION_FIELDS, FEATURE_FIELDS
from loans.services.wakeups import wake_scoring
from mlcore.progress import Progress, part, silent

if TYPE_CHECKING:
    from mlcore.synth import Generated, World

APPLICATIONS = 12_000
UNDECIDED = 200
SEED = 7
MONTHS = 48
"""Four years: three of them with known outcomes, and as many turns of the seasons."""
CHUNK = 4_000
_LOCK = 0x10A4DE5C
"""Advisory lock: two commands that both find the database empty must not both fill it."""


class NotEmpty(Exception):
    """There are applications already: made-up ones are never mixed among them."""


@dataclass(frozen=True)
class Seeded:
    """What was written. first, last: the earliest and the latest day of submission."""

    applications: int
    undecided: int
    defaulted: int
    repaid: int
    immature: int
    first: date
    last: date
    seconds: float


def demo_world(applications: int = APPLICATIONS, *, seed: int = SEED, until: date | None = None) -> World:
    """The world behind the demo: four years up to (not including) the day `until`, today in UTC where None.

    Half a year before its end the applicants' cards begin to be fuller than they were: a covariate drift, for monitoring to find. Three
    fraud rings are still at work at its end, among the applications that nobody has decided yet.
    """
    from mlcore.synth import Drift, World, months_later

    until = until or datetime.now(UTC).date()
    drift = Drift("covariate", months_later(until, -6), ("revolving_utilisation",), size=0.4, ramp_days=60)
    return World(seed=seed, start=months_later(until, -MONTHS), months=MONTHS, applications=applications, drifts=(drift,), rings_at_end=3)


def reference(number: int) -> str:
    """The external reference of the application with this `Generated.number`."""
    return f"DEMO-{number + 1:07d}"


def seed(
    applications: int = APPLICATIONS,
    *,
    seed: int = SEED,
    until: date | None = None,
    undecided: int = UNDECIDED,
    progress: Progress = silent,
) -> Seeded:
    """Write the demo world: the last `undecided` applications wait for their score, the others are history. Raises NotEmpty."""
    from mlcore.synth import blocks

    began = time.monotonic()
    world = demo_world(applications, seed=seed, until=until)
    first_open = applications - min(undecided, applications // 4)
    counts = {"default": 0, "repaid": 0, "immature": 0}
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        if LoanApplication.objects.exists():
            raise NotEmpty("The database holds applications already; made-up ones are not mixed among them. Nothing was changed.")
        progress(0.0, "making up applicants")
        products = _make_products()
        _declare_attributes()
        done = 0
        for made in blocks(world):
            written = part(progress, done / applications, (done + len(made)) / applications)
            for start in range(0, len(made), CHUNK):
                piece = made.take(slice(start, start + CHUNK))
                for state, count in _write(piece, products, first_open).items():
                    counts[state] += count
                written((start + len(piece)) / len(made), f"{done + start + len(piece):,} of {applications:,} applications written")
            done += len(made)
        _analyse()
        transaction.on_commit(wake_scoring)
    times = LoanApplication.objects.aggregate(first=models.Min("submitted_at"), last=models.Max("submitted_at"))
    return Seeded(
        applications=applications,
        undecided=applications - first_open,
        defaulted=counts["default"],
        repaid=counts["repaid"],
        immature=counts["immature"],
        first=times["first"].date(),
        last=times["last"].date(),
        seconds=time.monotonic() - began,
    )


def _make_products() -> dict[str, int]:
    """{code: id}; products of these codes that exist already stay as they are."""
    from mlcore.synth import PRODUCTS

    rows = [
        LoanProduct(code=each.code, name=each.name, minimum_amount=each.amounts[0], maximum_amount=each.amounts[2]) for each in PRODUCTS
    ]
    LoanProduct.objects.bulk_create(rows, ignore_conflicts=True)
    return dict(LoanProduct.objects.filter(code__in=[row.code for row in rows]).values_list("code", "pk"))


_REASON_TEXTS = {"savings_balance": "Too little in savings with us", "existing_customer": "No earlier account with us"}


def _declare_attributes() -> None:
    """The lender's own fields, declared as an administrator would declare them; those declared already stay as they are."""
    from mlcore.synth import LENDER_COLUMNS

    rows = [
        AttributeDefinition(
            name=column.name,
            label=column.title,
            kind=column.kind,
            unit=column.unit,
            direction=column.direction,
            known_at_application=column.known_at_application,
            changeable=column.changeable,
            family=column.family,
            reason_text=_REASON_TEXTS.get(column.name, ""),
            link_kind="device" if column.family == "device" else "",
        )
        for column in LENDER_COLUMNS
    ]
    for name, label in (("age_band", "Age"), ("sex", "Sex")):
        rows.append(AttributeDefinition(name=name, label=label, kind="category", protected=True))
    AttributeDefinition.objects.bulk_create(rows, ignore_conflicts=True)


def _write(made: Generated, products: dict[str, int], first_open: int) -> dict[str, int]:
    """One chunk into all tables; {outcome state: count} of what became history."""
    n = len(made)
    now = datetime.now(UTC)
    applicant_ids, application_ids = _new_ids(Applicant, n), _new_ids(LoanApplication, n)
    people = {name: made.applicant[name].tolist() for name in APPLICANT_FIELDS}
    fields = {name: Applicant._meta.get_field(name) for name in APPLICANT_FIELDS}
    _copy(
        Applicant,
        ("id", *APPLICANT_FIELDS, *(f"{name}_index" for name in INDEXED), "name_tokens"),
        applicant_ids,
        *([fields[name].get_prep_value(value) for value in values] for name, values in people.items()),
        *([blind_index(name, value) if value else None for value in people[name]] for name in INDEXED),
        [name_tokens(name) for name in people["name"]],
    )
    numbers = made.number.tolist()
    _copy(
        LoanApplication,
        (*_FIRST, *_PLAIN, *_LAST),
        application_ids,
        [reference(number) for number in numbers],
        made.submitted_at.dt.to_pydatetime().tolist(),
        [products[code] for code in made.frame["product"]],
        *(_values(made, name) for name in _PLAIN),
        _attributes(made),
        applicant_ids,
        [Status.HISTORICAL.value if number < first_open else Status.RECEIVED.value for number in numbers],
        [True] * n,
        [now] * n,
        [""] * n,
    )
    protected = [json.dumps(row) for row in made.protected.to_dict("records")]
    _copy(ProtectedAttributes, ("application", "values"), application_ids, protected)
    waiting = [pk for pk, number in zip(application_ids, numbers, strict=True) if number >= first_open]
    if waiting:
        ScoringJob.objects.bulk_create([ScoringJob(application_id=pk) for pk in waiting])
    return _write_outcomes(made, application_ids, n - len(waiting), now)


def _write_outcomes(made: Generated, application_ids: list[int], past: int, now: datetime) -> dict[str, int]:
    """Outcomes of the chunk's first `past` applications, as they are known on the day after the world's last."""
    import numpy as np

    made = made.take(slice(0, past))
    until = np.datetime64(made.world.end, "D")
    states = made.outcome(until).tolist()
    known = [state == "default" for state in states]
    defaulted = [day if bad else None for day, bad in zip(made.defaulted_on.tolist(), known, strict=True)]
    loss = [f"{value:.2f}" if bad else None for value, bad in zip(made.loss.tolist(), known, strict=True)]
    observed = np.minimum(made.window_closed_on, until).tolist()
    # A default is declared at 90 days past due, so the loan was 30 days late two months before; known also while its window is open.
    began = made.submitted_at.dt.tz_localize(None).to_numpy().astype("datetime64[D]")
    late = np.maximum(made.defaulted_on - np.timedelta64(60, "D"), began + 30)
    past_due = [day if day is not None and day < made.world.end else None for day in late.tolist()]
    columns = ("application", "state", "defaulted_on", "past_due_30_on", "observed_on", "loss", "created_at")
    _copy(LoanOutcome, columns, application_ids[:past], states, defaulted, past_due, observed, loss, [now] * past)
    return {state: states.count(state) for state in ("default", "repaid", "immature")}


_FIRST = ("id", "external_reference", "submitted_at", "product")
_PLAIN = tuple(name for name in FEATURE_FIELDS if name != "product")
_LAST = ("attributes", "applicant", "status", "synthetic", "created_at", "grade")


def _values(made: Generated, name: str) -> list[Any]:
    """A field as PostgreSQL takes it: money with two places, counts whole, missing text empty and missing numbers NULL."""
    values = made.frame[name].tolist()
    match APPLICATION_FIELDS[name].kind:
        case "money":
            return [None if value != value else f"{value:.2f}" for value in values]
        case "count":
            return [None if value != value else int(value) for value in values]
        case "ratio":
            return [None if value != value else value for value in values]
        case _:
            return [value or "" for value in values]


def _attributes(made: Generated) -> list[str]:
    """The lender's own attributes as JSON; what is missing is left out, as the API leaves it out."""
    from mlcore.synth import LENDER_COLUMNS

    columns = []
    for column in LENDER_COLUMNS:
        values = made.frame[column.name].tolist()
        if column.kind == "boolean":
            values = [None if value != value else bool(value) for value in values]
        columns.append([(column.name, value) for value in values])
    return [json.dumps({name: value for name, value in row if value is not None and value == value}) for row in zip(*columns, strict=True)]


def _new_ids(model: type[models.Model], n: int) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval(pg_get_serial_sequence(%s, 'id')) FROM generate_series(1, %s)", [model._meta.db_table, n])
        return [row[0] for row in cursor.fetchall()]


def _copy(model: type[models.Model], names: Sequence[str], *columns: Iterable[Any]) -> None:
    """COPY columns of equal length into the model's table; names of fields, values as the database takes them."""
    quote = connection.ops.quote_name
    table, fields = quote(model._meta.db_table), ", ".join(quote(model._meta.get_field(name).column) for name in names)
    with connection.cursor() as cursor, cursor.copy(f"COPY {table} ({fields}) FROM STDIN") as copy:
        for row in zip(*columns, strict=True):
            copy.write_row(row)


def _analyse() -> None:
    """Fresh statistics, so that the first pages are planned on what is there now."""
    with connection.cursor() as cursor:
        for model in (Applicant, LoanApplication, LoanOutcome, ProtectedAttributes, ScoringJob):
            cursor.execute(f"ANALYZE {connection.ops.quote_name(model._meta.db_table)}")
