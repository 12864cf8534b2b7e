"""The open credit files as `Dataset`s: columns known at application only, named and typed as `mlcore.schema` has them.

The files lie outside the repository (`../shared/data`); `load` raises MissingData where they are absent.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from mlcore.risk.base import Dataset
from mlcore.schema import CORE, Column, Schema

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data"


class MissingData(FileNotFoundError):
    """A benchmark's file is not on this machine."""


def _path(name: str) -> Path:
    path = FOLDER / name
    if not path.exists():
        raise MissingData(f"{name} is not in {FOLDER}: this part of the benchmark is skipped.")
    return path


def _text(values: pd.Series) -> pd.Series:
    """Object column of str with None where missing."""
    result = values.astype(object).map(lambda value: None if pd.isna(value) else str(value))
    return pd.Series(result.to_numpy(dtype=object), dtype=object)


def _dataset(columns: dict[str, pd.Series], own: list[Column], default: pd.Series, submitted_at: pd.Series | None) -> Dataset:
    known = [column for column in CORE if column.name in columns]
    schema = Schema([*known, *own])
    series = {}
    for column in schema:
        raw = columns[column.name].reset_index(drop=True)
        series[column.name] = _text(raw) if column.kind in ("category", "text") else pd.to_numeric(raw, errors="coerce").astype(float)
    frame = pd.DataFrame(series)
    amount = frame["amount"].to_numpy() if "amount" in frame else None
    return Dataset(frame, default.to_numpy().astype(np.int8), schema, submitted_at, amount)


def lendingclub() -> Dataset:
    """20,814 issued loans of 2007–2010; default: charged off, under "does not meet the credit policy" as well."""
    raw = pd.read_csv(_path("lendingclub_2007_2010.csv.gz"), low_memory=False)
    issued = pd.to_datetime(raw["issue_d"], utc=True)
    years = raw["emp_length"].str.extract(r"(\d+)")[0].astype(float)
    months = years.where(~raw["emp_length"].str.startswith("<", na=False), 0.5) * 12
    columns = {
        "amount": raw["loan_amnt"],
        "term_months": raw["term"],
        "purpose": raw["purpose"],
        "annual_income": raw["annual_inc"],
        "debt_to_income": raw["dti"] / 100,
        "employment_months": months,
        "home_ownership": raw["home_ownership"],
        "region": raw["addr_state"],
        "credit_history_months": (issued - pd.to_datetime(raw["earliest_cr_line"], utc=True)).dt.days / 30.4375,
        "open_accounts": raw["open_acc"],
        "total_accounts": raw["total_acc"],
        "delinquencies_24m": raw["delinq_2yrs"],
        "months_since_delinquency": raw["mths_since_last_delinq"],
        "public_records": raw["pub_rec"],
        "inquiries_6m": raw["inq_last_6mths"],
        "revolving_balance": raw["revol_bal"],
        "revolving_utilisation": raw["revol_util"],
        "zip_code": raw["zip_code"],
        "months_since_record": raw["mths_since_last_record"],
        "bankruptcies": raw["pub_rec_bankruptcies"],
    }
    own = [
        Column("zip_code", "category", family="region"),
        Column("months_since_record", "number", unit="months", family="public_records"),
        Column("bankruptcies", "number", unit="count", direction=1, family="public_records"),
    ]
    return _dataset(columns, own, raw["loan_status"].str.contains("Charged Off"), issued)


def sba() -> Dataset:
    """21,077 US Small Business Administration loans, 1970–2014; `term` left out, since it was rewritten when a loan failed."""
    raw = pd.read_csv(_path("sba_21k.csv.gz"), low_memory=False)
    code = {name: raw[name].map(lambda value: None if pd.isna(value) else f"{int(value)}") for name in ("zip", "naics", "franchise_code")}
    columns = {
        "amount": raw["gr_appv"],
        "region": raw["state"],
        "guaranteed_amount": raw["sba_appv"],
        "industry": code["naics"].where(code["naics"] != "0"),
        "zip": code["zip"].str.zfill(5),
        "city": raw["city"],
        "bank": raw["bank"],
        "bank_state": raw["bank_state"],
        "employees": raw["no_emp"],
        "new_business": raw["new_exist"],
        "jobs_created": raw["create_job"],
        "jobs_retained": raw["retained_job"],
        "franchise": code["franchise_code"],
        "urban_rural": raw["urban_rural"],
        "revolving_line": raw["rev_line_cr"],
        "low_documentation": raw["low_doc"],
    }
    own = [
        Column("guaranteed_amount", "number", unit="currency", family="amount"),
        Column("industry", "category"),
        Column("zip", "category", family="region"),
        Column("city", "category", family="region"),
        Column("bank", "category"),
        Column("bank_state", "category", family="bank"),
        Column("employees", "number", unit="count"),
        Column("new_business", "category"),
        Column("jobs_created", "number", unit="count", family="jobs"),
        Column("jobs_retained", "number", unit="count", family="jobs"),
        Column("franchise", "category"),
        Column("urban_rural", "category"),
        Column("revolving_line", "category"),
        Column("low_documentation", "category"),
    ]
    return _dataset(columns, own, raw["mis_status"] == "CHGOFF", pd.to_datetime(raw["approval_date"], utc=True))


def taiwan() -> Dataset:
    """30,000 credit card clients, 2005, no dates. Sex, marital status and age are protected: never a feature."""
    raw = pd.read_csv(_path("taiwan_credit_card_clients.csv.gz"))
    columns = {"amount": raw["LIMIT_BAL"], "education": raw["EDUCATION"]}
    own = [Column("education", "category")]
    for k, status in enumerate(["PAY_0", "PAY_2", "PAY_3", "PAY_4", "PAY_5", "PAY_6"], start=1):
        columns |= {f"status_{k}": raw[status], f"bill_{k}": raw[f"BILL_AMT{k}"], f"paid_{k}": raw[f"PAY_AMT{k}"]}
        own += [
            Column(f"status_{k}", "number", unit="months late", family="payment_status"),
            Column(f"bill_{k}", "number", unit="currency", family="bills"),
            Column(f"paid_{k}", "number", unit="currency", family="payments"),
        ]
    data = _dataset(columns, own, raw.iloc[:, -1] == 1, None)
    protected = pd.DataFrame({name.lower(): _text(raw[name]) for name in ("SEX", "MARRIAGE")} | {"age": raw["AGE"].astype(float)})
    return Dataset(data.frame, data.default, data.schema, None, data.amount, protected)


_GERMAN = (
    ("checking", "category"), ("term_months", "number"), ("history", "category"), ("purpose", "category"), ("amount", "number"),
    ("savings", "category"), ("employment_since", "category"), ("rate_of_income", "number"), ("status_sex", "category"),
    ("guarantors", "category"), ("residence_since", "number"), ("property", "category"), ("age", "number"), ("other_plans", "category"),
    ("housing", "category"), ("credits_here", "number"), ("job", "category"), ("dependants", "number"), ("telephone", "category"),
    ("foreign_worker", "category"),
)  # fmt: skip


def german() -> Dataset:
    """1,000 German loans of the 1970s, no dates. The benchmark's published figures use all attributes, so sex and age stay in here."""
    raw = pd.read_csv(_path("german_credit.data"), sep=r"\s+", header=None)
    columns = {name: raw[k] for k, (name, _) in enumerate(_GERMAN)}
    own = [Column(name, kind) for name, kind in _GERMAN if name not in CORE]
    return _dataset(columns, own, raw[20] == 2, None)


LOADERS: dict[str, Callable[[], Dataset]] = {"lendingclub": lendingclub, "sba": sba, "taiwan": taiwan, "german": german}


def load(name: str) -> Dataset:
    return LOADERS[name]()


def split(name: str, data: Dataset, seed: int = 0) -> tuple[Dataset, Dataset]:
    """Training and test rows as the published anchors have them: by time where there are dates, else 80/20 at random, stratified."""
    if name == "lendingclub":
        late = (data.submitted_at.dt.year >= 2010).to_numpy()
    elif name == "sba":
        late = np.zeros(len(data), dtype=bool)
        late[np.argsort(data.submitted_at.to_numpy("datetime64[ns]"), kind="stable")[int(0.8 * len(data)) :]] = True
    else:
        late = np.zeros(len(data), dtype=bool)
        generator = np.random.default_rng(seed)
        for value in (0, 1):
            rows = generator.permutation(np.flatnonzero(data.default == value))
            late[rows[: round(0.2 * len(rows))]] = True
    return data.take(~late), data.take(late)
