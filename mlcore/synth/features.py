"""Applicants' facts: correlated through a Gaussian copula, each with a distribution of its own, and missing for reasons.

A latent normal variable an applicant and column, correlated through three common factors (Nelsen, An Introduction to Copulas, §2.3), is
turned into the column's own distribution. Numbers are rounded as an application form has them, and true risk is computed from the rounded.
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit, ndtr

from mlcore.synth.world import CHANNEL_SHARES, CHANNELS, EMPLOYMENT, HOMES, LEVELS, PRODUCTS, PURPOSES, World

Columns = dict[str, np.ndarray]
"""Columns on the way to a frame: float64 numbers (NaN missing), int8 positions in LEVELS for categories (-1 missing)."""

# Loadings on prosperity, strain and seniority; what is left to 1 is the column's own.
_LOADINGS: dict[str, tuple[float, float, float]] = {
    "age": (0.05, 0.00, 0.85),
    "annual_income": (0.75, -0.05, 0.20),
    "debt_to_income": (-0.30, 0.55, 0.00),
    "employment_months": (0.20, -0.10, 0.60),
    "credit_score": (0.25, -0.30, 0.10),
    "credit_history_months": (0.10, 0.00, 0.55),
    "accounts": (0.30, 0.10, 0.30),
    "delinquencies_24m": (-0.10, 0.65, 0.00),
    "public_records": (-0.10, 0.50, 0.10),
    "inquiries_6m": (0.00, 0.50, -0.15),
    "revolving_utilisation": (-0.15, 0.65, -0.10),
    "revolving_limit": (0.60, -0.15, 0.20),
    "amount": (0.50, 0.15, 0.05),
    "savings_balance": (0.60, -0.40, 0.25),
}
LATENTS = tuple(_LOADINGS)
_MATRIX = np.array(list(_LOADINGS.values()))
_OWN = np.sqrt(1 - (_MATRIX**2).sum(axis=1))
_AT = {name: number for number, name in enumerate(LATENTS)}

RING_LOOK = {
    "annual_income": 0.7, "debt_to_income": -0.6, "credit_score": 0.4, "employment_months": -0.5, "delinquencies_24m": -0.7, "amount": 1.1,
}  # fmt: skip
"""How far (in standard deviations) a fraud ring's made-up applicants stand off: a little too good, and asking for more."""


_EARNING = (1.0, 1.05, 0.5, 0.75, 0.4)
"""Income by employment status, relative to the employed."""


def latent_correlation() -> np.ndarray:
    """(k, k) correlation of the latent variables, in the order of LATENTS: the truth that a fitted copula should find."""
    correlation = _MATRIX @ _MATRIX.T
    np.fill_diagonal(correlation, 1.0)
    return correlation


def draw_latents(rng: np.random.Generator, n: int) -> np.ndarray:
    """(k, n) float64, rows in the order of LATENTS: each standard normal, correlated as `latent_correlation` says."""
    latents = rng.standard_normal((len(LATENTS), n)) * _OWN[:, None]
    latents += _MATRIX @ rng.standard_normal((_MATRIX.shape[1], n))
    return latents


def shift_latents(latents: np.ndarray, world: World, moment: np.ndarray, female: np.ndarray, ring: np.ndarray) -> None:
    """Move, in place, what is not as usual: covariate drift, the income gap of `world.proxy`, and how a fraud ring looks."""
    for drift in world.drifts:
        if drift.kind == "covariate":
            for name in drift.columns:
                latents[_AT[name]] += drift.size * drift.weight(moment)
    if world.proxy:
        latents[_AT["annual_income"]] -= world.proxy * female
    fraud = ring >= 0
    if fraud.any():
        for name, size in RING_LOOK.items():
            latents[_AT[name], fraud] += size


def age_of(latents: np.ndarray) -> np.ndarray:
    """(n,) years, 19 to 79, most between 25 and 55."""
    return 19 + 60 * ndtr(latents[_AT["age"]]) ** 1.4


def draw_columns(
    rng: np.random.Generator, latents: np.ndarray, *, age: np.ndarray, product: np.ndarray, region: np.ndarray, ring: np.ndarray
) -> Columns:
    """Every column as the application form has it, missing values included.

    latents: (k, n). age: (n,) years. product, region: (n,) positions. ring: (n,) ring number or -1.
    """
    n = len(age)
    latent = dict(zip(LATENTS, latents, strict=True))
    columns: Columns = {"product": product, "region": region, "channel": _channel(rng, ring)}
    _request(rng, columns, latent["amount"])
    _work(rng, columns, latent["employment_months"], age)
    earning = np.array([*_EARNING, 1.0])[columns["employment_status"]]
    income = np.maximum(np.round(earning * np.exp(10.88 + 0.52 * latent["annual_income"]), -2), 1_000)
    columns["home_ownership"] = _home(rng, age, latent["annual_income"])
    _bureau(rng, columns, latent, age, income)
    columns["debt_to_income"] = np.round(0.85 * expit(-1.05 + 0.70 * latent["debt_to_income"]), 3)
    # Income that is not stated is missing for a reason, and without it there is no ratio to it.
    unstated = rng.random(n) < np.where(columns["employment_status"] == 1, 0.12, 0.03)
    columns["annual_income"] = np.where(unstated, np.nan, income)
    columns["debt_to_income"][unstated] = np.nan
    savings = np.round(np.exp(7.2 + 1.5 * latent["savings_balance"]), -1)
    columns["existing_customer"] = (rng.random(n) < np.where(ring >= 0, 0.02, 0.45)).astype(float)
    columns["savings_balance"] = np.where((columns["existing_customer"] == 1) | (rng.random(n) < 0.4), savings, np.nan)
    return columns


def _channel(rng: np.random.Generator, ring: np.ndarray) -> np.ndarray:
    channel = _pick(rng.random(len(ring)), CHANNEL_SHARES)
    # Nobody steals from a desk where he is looked in the face.
    return np.where(ring >= 0, np.int8(CHANNELS.index("online")), channel)


def _request(rng: np.random.Generator, columns: Columns, latent: np.ndarray) -> None:
    product = columns["product"]
    n = len(product)
    least, median, most = (np.array([each.amounts[i] for each in PRODUCTS], dtype=float)[product] for i in range(3))
    columns["amount"] = np.clip(np.round(median * np.exp(0.6 * latent) / 50) * 50, least, most)
    terms = np.array([each.terms for each in PRODUCTS], dtype=float)
    # Who borrows more takes longer to pay it back.
    columns["term_months"] = terms[product, np.clip((4 * ndtr(0.6 * latent + 0.8 * rng.standard_normal(n))).astype(int), 0, 3)]
    many = np.array([len(each.purposes) for each in PRODUCTS])[product]
    first = np.array([PURPOSES.index(each.purposes[0]) for each in PRODUCTS])[product]
    # Earlier purposes are the usual ones; some applicants do not say.
    purpose = first + np.minimum((rng.random(n) ** 1.7 * many).astype(int), many - 1)
    columns["purpose"] = np.where(rng.random(n) < 0.03, -1, purpose).astype(np.int8)
    columns["purpose_text"] = np.where(rng.random(n) < 0.45, rng.integers(0, 3, n), -1).astype(np.int8)


def _work(rng: np.random.Generator, columns: Columns, latent: np.ndarray, age: np.ndarray) -> None:
    n = len(age)
    chance = rng.random((4, n))
    status = np.zeros(n, dtype=np.int8)
    status[chance[0] < 0.13] = EMPLOYMENT.index("self_employed")
    status[chance[1] < 0.045] = EMPLOYMENT.index("unemployed")
    status[(age < 26) & (chance[2] < 0.25)] = EMPLOYMENT.index("student")
    status[chance[3] < 0.9 * expit((age - 65) / 2.5)] = EMPLOYMENT.index("retired")
    months = np.minimum(np.round(np.exp(3.7 + 0.95 * latent)), np.floor((age - 18) * 12))
    months[(status >= EMPLOYMENT.index("unemployed")) | (rng.random(n) < 0.03)] = np.nan
    columns["employment_status"] = np.where(rng.random(n) < 0.01, -1, status).astype(np.int8)
    columns["employment_months"] = months


def _home(rng: np.random.Generator, age: np.ndarray, latent_income: np.ndarray) -> np.ndarray:
    owns = expit(-0.4 + 0.05 * (age - 42) + 0.6 * latent_income + rng.logistic(size=len(age)))
    paid_off = rng.random(len(age)) < expit((age - 58) / 5)
    home = np.where(owns < 0.5, HOMES.index("rent"), np.where(paid_off, HOMES.index("own"), HOMES.index("mortgage")))
    other = rng.random(len(age))
    home = np.where(other < 0.04, HOMES.index("other"), home)
    return np.where(other > 0.985, -1, home).astype(np.int8)


def _bureau(rng: np.random.Generator, columns: Columns, latent: dict[str, np.ndarray], age: np.ndarray, income: np.ndarray) -> None:
    """What a credit bureau would report; a thin file has no score."""
    n = len(age)
    history = np.maximum(np.round((age - 18) * 12 * ndtr(0.5 + latent["credit_history_months"]) ** 0.8), 0)
    total = _poisson(rng, 0.6 + 0.35 * np.log1p(history / 6) + 0.3 * latent["accounts"], 40)
    recent = _poisson(rng, -2.1 + 0.9 * latent["delinquencies_24m"], 12)
    recent = np.where(history < 6, 0, recent)
    earlier = rng.random(n) < expit(-1.9 + 0.8 * latent["delinquencies_24m"])
    last = np.where(recent > 0, rng.integers(0, 25, n), rng.integers(25, 97, n)).astype(float)
    ever = (recent > 0) | (earlier & (history > 25))
    utilisation = np.round(1.05 * expit(-0.45 + 1.15 * latent["revolving_utilisation"]), 3)
    limit = income * 0.28 * np.exp(0.5 * latent["revolving_limit"])
    revolving = (total > 0) & (rng.random(n) > 0.06)
    score = 692 + 34 * latent["credit_score"] - 70 * (utilisation - 0.4) - 22 * np.minimum(recent, 4) + 0.09 * np.minimum(history, 300)
    thin = rng.random(n) < np.where(history < 18, 0.45, 0.02)
    columns["credit_history_months"] = np.where(rng.random(n) < 0.01, np.nan, history)
    columns["total_accounts"] = total
    columns["open_accounts"] = np.round(total * (0.3 + 0.5 * rng.random(n)))
    columns["delinquencies_24m"] = recent
    # Missing where there never was one: the best thing that can be said here.
    columns["months_since_delinquency"] = np.where(ever, np.minimum(last, history), np.nan)
    columns["public_records"] = _poisson(rng, -3.2 + 0.9 * latent["public_records"], 6)
    columns["inquiries_6m"] = _poisson(rng, -0.35 + 0.6 * latent["inquiries_6m"], 15)
    columns["inquiries_6m"][rng.random(n) < 0.02] = np.nan
    columns["revolving_utilisation"] = np.where(revolving, utilisation, np.nan)
    columns["revolving_balance"] = np.where(revolving, np.round(utilisation * limit), np.nan)
    columns["credit_score"] = np.where(thin, np.nan, np.clip(np.round(score), 300, 850))


def _pick(chance: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """(n,) int8 positions drawn with these shares by uniform numbers."""
    return np.minimum(np.searchsorted(np.cumsum(shares), chance, side="right"), len(shares) - 1).astype(np.int8)


def _poisson(rng: np.random.Generator, log_mean: np.ndarray, most: int) -> np.ndarray:
    """(n,) float64 Poisson counts, at most `most`, by inversion: one uniform number each, whatever the mean.

    So a shift of some rows' means leaves every other draw of the stream where it was: a drifted world equals the usual one until then.
    """
    chance = rng.random(len(log_mean))
    count = np.zeros(len(log_mean))
    rest = np.arange(len(log_mean))
    mean = np.exp(log_mean)
    probability = np.exp(-mean)
    reached = probability.copy()
    for number in range(1, most + 1):
        beyond = chance[rest] >= reached
        if not beyond.any():
            break
        rest, probability, reached = rest[beyond], probability[beyond], reached[beyond]
        count[rest] = number
        probability = probability * mean[rest] / number
        reached = reached + probability
    return count


_TEXTS = {
    "debt_consolidation": ("One payment instead of five.", "Putting my cards into one loan.", "I want to pay less interest on old debts."),
    "credit_card": ("Paying off a credit card.", "My card's rate went up.", "To clear my card balance."),
    "medical": ("Dental work.", "Hospital bill from the spring.", "Treatment that insurance does not cover."),
    "moving": ("Moving for a new job.", "Deposit and removal costs.", "We move in two months."),
    "wedding": ("Our wedding in June.", "Wedding costs.", "A small wedding and the rings."),
    "new_car": ("A new family car.", "The old one is beyond repair.", "New car, part paid in cash."),
    "used_car": ("A used car to get to work.", "Second-hand van.", "A used car from a dealer."),
    "renovation": ("New kitchen.", "The bathroom needs doing.", "Extending the house by a room."),
    "repair": ("The roof leaks.", "The boiler broke.", "Repairs after the storm."),
    "energy_saving": ("Insulation and new windows.", "Solar panels.", "A heat pump."),
    "equipment": ("A second delivery van.", "An oven for the bakery.", "New machines for the workshop."),
    "working_capital": ("Stock for the season.", "Bridging late payments.", "Wages until invoices are paid."),
    "expansion": ("Opening a second shop.", "Larger premises.", "Hiring two people."),
}
TEXTS = np.array([_TEXTS[purpose] for purpose in LEVELS["purpose"]], dtype=object)
"""(purposes, 3) object: what applicants write."""
