"""What an applicant's income leaves for a new loan: a rule, not a model."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class AffordabilityRule:
    """All debt payments together may take `most_debt_to_income` of the gross income.

    annual_rate: nominal yearly interest of the new loan. term_months: where an application does not say. The defaults are a lender's to
    change: .43 is the ceiling long used for US qualified mortgages (12 CFR 1026.43(e), until 2021).
    """

    most_debt_to_income: float = 0.43
    annual_rate: float = 0.15
    term_months: float = 36.0

    def __post_init__(self) -> None:
        if not 0 < self.most_debt_to_income <= 1 or not 0 <= self.annual_rate < 10 or self.term_months <= 0:
            raise ValueError("An affordability rule needs a debt to income in (0, 1], a yearly rate in [0, 10) and a positive term.")

    def cap(self, frame: pd.DataFrame) -> np.ndarray:
        """(n,) the largest affordable amount, 0 where nothing is left, NaN where the income is not known.

        frame: annual_income, and where there are, debt_to_income (a fraction; taken as 0 where unknown) and term_months.
        """
        income = _column(frame, "annual_income")
        owed = np.nan_to_num(_column(frame, "debt_to_income"))
        term = _column(frame, "term_months")
        term = np.where(np.isfinite(term) & (term > 0), term, self.term_months)
        room = np.maximum(income / 12 * (self.most_debt_to_income - owed), 0.0)
        return np.where(np.isfinite(income), room * present_value(self.annual_rate, term), np.nan)

    def to_state(self) -> dict[str, float]:
        return asdict(self)


def present_value(annual_rate: float, term_months: np.ndarray) -> np.ndarray:
    """The amount that a payment of 1 a month repays in `term_months`: (1 − (1 + r)⁻ⁿ) / r with the monthly rate r."""
    monthly = annual_rate / 12
    return term_months if monthly == 0 else -np.expm1(-term_months * np.log1p(monthly)) / monthly


def _column(frame: pd.DataFrame, name: str) -> np.ndarray:
    return frame[name].to_numpy(dtype=float) if name in frame else np.full(len(frame), np.nan)
