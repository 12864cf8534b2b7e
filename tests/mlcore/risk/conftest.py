"""A small generated world whose truth is known: log-odds are additive in a few columns, some of which go missing for a reason."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mlcore.risk.base import Dataset
from mlcore.schema import CORE, Column, Schema

OWN = (
    Column("branch", "category"),
    Column("returning", "boolean", direction=-1),
    Column("first_contact", "date"),
    Column("note", "text"),
    Column("age", "number", protected=True),
    Column("collections_cost", "number", known_at_application=False),
)


def make_world(rows: int = 1500, seed: int = 1) -> Dataset:
    """A Dataset of `rows` applications over two years; `truth` of its schema: credit score, income and branch matter, noise does not."""
    r = np.random.default_rng(seed)
    income = np.exp(r.normal(10.8, 0.5, rows))
    amount = np.exp(r.normal(9.2, 0.6, rows))
    score = r.normal(680, 50, rows)
    submitted = pd.Series(pd.Timestamp("2023-01-01", tz="UTC") + pd.to_timedelta(np.sort(r.integers(0, 730, rows)), unit="D"))
    branch = r.choice(["north", "south", "west"], rows)
    returning = (r.random(rows) < 0.3).astype(float)
    contact = submitted - pd.to_timedelta(r.integers(0, 400, rows), unit="D")
    z = -1.6 - 0.02 * (score - 680) + 2.0 * (amount / income - 0.2) + 0.7 * (branch == "south") - 0.5 * returning
    default = (r.random(rows) < 1 / (1 + np.exp(-z))).astype(np.int8)
    frame = pd.DataFrame(
        {
            "amount": amount,
            "term_months": r.choice([24.0, 36.0, 60.0], rows),
            "annual_income": np.where(r.random(rows) < 0.1, np.nan, income),
            "credit_score": np.where(r.random(rows) < 0.15, np.nan, score),
            "open_accounts": r.integers(0, 20, rows).astype(float),
            "region": pd.Series(r.choice([f"R{k:03d}" for k in range(60)], rows), dtype=object),
            "branch": pd.Series(np.where(r.random(rows) < 0.05, None, branch), dtype=object),
            "returning": returning,
            "first_contact": contact.where(r.random(rows) > 0.2),
            "note": pd.Series(["hello"] * rows, dtype=object),
            "age": r.integers(20, 70, rows).astype(float),
            "collections_cost": default * 100.0,
        }
    )
    schema = Schema([*CORE.only(frame.columns), *OWN])
    return Dataset(frame[list(schema.names)], default, schema, submitted, amount)


@pytest.fixture(scope="session")
def world() -> Dataset:
    return make_world()
