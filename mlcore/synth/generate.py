"""A world's applications, all at once or in blocks: the same either way, since each block draws from a stream of its own."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy.special import expit

from mlcore.progress import Progress, silent
from mlcore.synth import features as facts
from mlcore.synth import people
from mlcore.synth.features import Columns
from mlcore.synth.generated import Generated
from mlcore.synth.plan import Plan, make_plan
from mlcore.synth.truth import true_terms
from mlcore.synth.world import LEAK, LEVELS, NUMBERS, World

BLOCK = 50_000
"""Applications filled in at a time: some 100 MB. A fixed number, since the random streams hang on it."""
DAYS_A_MONTH = 365.25 / 12
QUICK_MONTHS = 3
"""A fraud's loan is never paid: it defaults within so many months."""


def generate(world: World, *, identities: bool = True, progress: Progress = silent) -> Generated:
    """Every application of the world with its truth. Without `identities` a third faster and half as large."""
    return Generated.joined(list(blocks(world, identities=identities, progress=progress)))


def blocks(world: World, *, identities: bool = True, progress: Progress = silent) -> Iterator[Generated]:
    """The same applications in blocks of `BLOCK` by time, for worlds that do not fit into memory; one block at least, even if empty."""
    plan = make_plan(world)
    for start in range(0, max(len(plan), 1), BLOCK):
        end = min(start + BLOCK, len(plan))
        yield _block(world, plan, slice(start, end), np.random.default_rng([world.seed, 2, start // BLOCK]), identities)
        progress(end / max(len(plan), 1), f"{end:,} of {len(plan):,} applications made up")


def _block(world: World, plan: Plan, rows: slice, rng: np.random.Generator, identities: bool) -> Generated:
    moment, ring, hub = plan.moment[rows], plan.ring[rows], plan.hub[rows]
    n = len(moment)
    number = np.arange(rows.start, rows.stop)
    earlier, household = _again(rng, world, ring, hub)
    person = number[earlier]
    latents = facts.draw_latents(rng, n)
    repeats = earlier != np.arange(n)
    # The same person's facts some time later: mostly what they were.
    latents[:, repeats] = 0.95 * latents[:, earlier[repeats]] + np.sqrt(1 - 0.95**2) * latents[:, repeats]
    female = people.is_female(person, world.seed)
    facts.shift_latents(latents, world, moment, female, ring)
    today = moment.astype("datetime64[D]")
    birth = (today - (facts.age_of(latents) * 365.25).astype("timedelta64[D]"))[earlier]
    age = (today - birth).astype(float) / 365.25
    columns = facts.draw_columns(rng, latents, age=age, product=plan.product[rows], region=plan.region[rows], ring=ring)
    contributions, hidden, baseline = true_terms(world, columns, moment, ring)
    probability = expit(baseline + contributions.sum(axis=1) + hidden)
    default = (rng.random(n) < probability).astype(np.int8)
    if identities:
        applicant, device = people.identities(
            rng, world.seed, plan, rows, person=person, household=number[household], birth=birth,
            channel=columns["channel"], employment=columns["employment_status"],
        )  # fmt: skip
    else:
        applicant, device = pd.DataFrame(index=range(n)), np.full(n, None, dtype=object)
    months, day, loss = _course(rng, world, default, ring, columns["amount"])
    frame = _frame(world, columns, device)
    if world.leak:
        frame[LEAK.name] = np.where(default == 1, 1.0 + rng.poisson(4, n), rng.poisson(0.02, n).astype(float))
    _spoil(np.random.default_rng([world.seed, 3, rows.start]), world, frame, moment)
    return Generated(
        world=world,
        number=number,
        frame=frame,
        submitted_at=pd.Series(pd.DatetimeIndex(moment.astype("datetime64[ns]"), tz="UTC"), name="submitted_at"),
        applicant=applicant,
        protected=people.protected(age, female),
        default=default,
        defaulted_on=np.where(default == 1, today + day, np.datetime64("NaT", "D")),
        months_to_default=months,
        window_closed_on=today + int(np.ceil(world.outcome_months * DAYS_A_MONTH)),
        loss=loss,
        true_default_probability=probability,
        baseline=baseline,
        true_contributions=contributions,
        true_hidden=hidden,
        fraud_ring=ring,
        hub=hub,
        person=person,
    )


def _again(rng: np.random.Generator, world: World, ring: np.ndarray, hub: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n,) whose row each row's person comes from, and (n,) whose household he lives in; mostly the row itself.

    Some people apply again and some live with others who applied: honest links, which a hunt for rings must not take for fraud.
    """
    n = len(ring)
    own = np.arange(n)
    honest = (ring < 0) & (hub < 0)
    source = own - rng.geometric(1 / 400, n) if n else own
    chance = rng.random(n)
    possible = honest & (source >= 0) & honest[np.maximum(source, 0)]
    again = possible & (chance < world.repeat_share)
    family = possible & (chance >= world.repeat_share) & (chance < 1.5 * world.repeat_share)
    # Nobody follows one who follows another: each link is one step long.
    first = ~(again | family)
    again, family = again & first[np.maximum(source, 0)], family & first[np.maximum(source, 0)]
    return np.where(again, source, own), np.where(again | family, source, own)


def _course(
    rng: np.random.Generator, world: World, default: np.ndarray, ring: np.ndarray, amount: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n,) int16 month on book of default (-1 none), (n,) timedelta64[D] until it, (n,) float64 loss (NaN none)."""
    n = len(default)
    month = np.arange(1, world.outcome_months + 1)
    # Nobody defaults on the first day; after half a year or so those who could not pay have shown.
    hazard = month**1.4 * np.exp(-month / 4.5)
    months = 1 + np.searchsorted(np.cumsum(hazard) / hazard.sum(), rng.random(n)).clip(max=world.outcome_months - 1)
    quick = rng.integers(1, min(QUICK_MONTHS, world.outcome_months) + 1, n)
    months = np.where(ring >= 0, quick, months)
    day = np.floor((months - 1 + rng.random(n)) * DAYS_A_MONTH).astype(np.int64).clip(min=1).astype("timedelta64[D]")
    lost = np.round(amount * np.where(ring >= 0, 0.95, rng.beta(5, 4, n)), 2)
    bad = default == 1
    return np.where(bad, months, -1).astype(np.int16), day, np.where(bad, lost, np.nan)


def _frame(world: World, columns: Columns, device: np.ndarray) -> pd.DataFrame:
    made: dict[str, np.ndarray] = {}
    for column in world.schema:
        if column.name == LEAK.name:
            continue
        if column.name == "device_id":
            made["device_id"] = device
        elif column.name == "purpose_text":
            said = facts.TEXTS[columns["purpose"], columns["purpose_text"]]
            said[(columns["purpose"] < 0) | (columns["purpose_text"] < 0)] = None
            made["purpose_text"] = said
        elif column.name in LEVELS:
            # The last of the values stands for position -1.
            made[column.name] = np.array([*LEVELS[column.name], None], dtype=object)[columns[column.name]]
        else:
            made[column.name] = columns[column.name].astype(float)
    return pd.DataFrame({name: pd.Series(values, dtype=values.dtype) for name, values in made.items()}, copy=False)


def _spoil(rng: np.random.Generator, world: World, frame: pd.DataFrame, moment: np.ndarray) -> None:
    """Faults of recording, in place: a column goes empty, a unit changes. The applicants' true risk is what it was."""
    for drift in world.drifts:
        if drift.kind not in ("empty", "unit"):
            continue
        weight = drift.weight(moment)
        for name in drift.columns:
            chance = rng.random(len(frame))
            if drift.kind == "unit" and name in NUMBERS:
                frame[name] = np.where(chance < weight, frame[name] * drift.size, frame[name])
            elif drift.kind == "empty":
                gone = chance < drift.size * weight
                frame[name] = frame[name].mask(gone, np.nan if frame[name].dtype == float else None)
