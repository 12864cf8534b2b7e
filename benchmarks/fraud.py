"""Fraud: vehicle claims out of time, planted rings of a made-up world, and the time that linking takes.

`python -m benchmarks.fraud` prints a table and writes build/bench/fraud.json. `--links N` links N applications (1,000,000), `--skip NAME`
leaves out vehicle, rings or links. The claims lie outside the repository; without them that part is skipped.
"""

from __future__ import annotations

import argparse
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import report
from benchmarks.data import FOLDER
from benchmarks.report import Figure
from mlcore import metrics
from mlcore.fraud import evaluate, links, merge, rules, supervised
from mlcore.fraud.anomaly import Anomaly
from mlcore.fraud.velocity import Identifiers
from mlcore.schema import Column, Schema
from mlcore.synth import World, generate

CLAIMS = "vehicle_claims_1994_1995.csv.gz"
PROTECTED = ("Sex", "MaritalStatus", "Age", "AgeOfPolicyHolder")
ROOT = Path(__file__).resolve().parents[1]
STARTER = ROOT / "loans" / "rulepacks" / "fraud_starter.toml"
Figures = list[Figure]


MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def claims() -> tuple[pd.DataFrame, np.ndarray, pd.Series, Schema]:
    """The claims as a generic table: all columns but the outcome, the running number of the policy, the year, and protected ones.

    Their time is that of the accident, to the week.
    """
    raw = pd.read_csv(FOLDER / CLAIMS)
    left_out = {"FraudFound_P", "PolicyNumber", "Year", *PROTECTED}
    kinds = {name: "number" if pd.api.types.is_numeric_dtype(raw[name]) else "category" for name in raw if name not in left_out}
    frame = pd.DataFrame({name: raw[name].astype(float if kind == "number" else object) for name, kind in kinds.items()})
    month = raw["Month"].map({name: number for number, name in enumerate(MONTHS, start=1)})
    at = pd.to_datetime({"year": raw["Year"], "month": month, "day": 1}, utc=True) + pd.to_timedelta(7 * (raw["WeekOfMonth"] - 1), unit="D")
    return frame, raw["FraudFound_P"].to_numpy(np.int8), at, Schema(Column(*each) for each in kinds.items())


def plain_boosting(frame: pd.DataFrame, fraud: np.ndarray, train: np.ndarray, test: np.ndarray, schema: Schema) -> np.ndarray:
    """scikit-learn's HistGradientBoosting as it comes, categories and all."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    typed = frame.astype({column.name: "category" for column in schema if column.kind == "category"})
    model = HistGradientBoostingClassifier(categorical_features="from_dtype", random_state=0).fit(typed[train], fraud[train])
    return model.predict_proba(typed[test])[:, 1]


def vehicle() -> Figures:
    """Learned from the claims of 1994, judged on those of 1995."""
    frame, fraud, at, schema = claims()
    # The week-of-month arithmetic can reach into January; the year of the table decides.
    year = pd.read_csv(FOLDER / CLAIMS, usecols=["Year"])["Year"].to_numpy()
    train, test = year == 1994, year == 1995
    began = time.perf_counter()
    model = supervised.fit(frame[train].reset_index(drop=True), fraud[train], schema, submitted_at=at[train].reset_index(drop=True))
    seconds = time.perf_counter() - began
    mine, theirs = (
        model.probability(frame[test].reset_index(drop=True), at[test].reset_index(drop=True)),
        plain_boosting(frame, fraud, train, test, schema),
    )
    found = fraud[test]
    difference = metrics.auc_difference(found, mine, theirs)
    ours, plain = evaluate.recall_interval(found, mine), evaluate.recall_interval(found, theirs)
    oe = metrics.observed_expected(found, mine)
    day = np.arange(len(found)) // 20  # 20 claims a day, in the file's order
    at_capacity = {name: evaluate.at_capacity(found, score, day, capacity=1) for name, score in (("ours", mine), ("plain", theirs))}
    print(f"  chosen {model.name}, calibrated by {model.calibrator.method}, fitted in {seconds:.0f} s; compared on held-out cases of 1994:")
    for row in model.report["compared"]:
        print(f"    {'+'.join(row['rungs']):24} log-loss {row['log_loss']:.4f}  AUC {row['auc']:.4f}")
    print(f"  observed / expected frauds of 1995: {oe['value']:.2f} ({oe['low']:.2f}–{oe['high']:.2f})")
    for name, row in at_capacity.items():
        print(
            f"  one claim of 20 looked at a day, {name}:"
            f" precision {row['precision']:.3f} ({row['precision_low']:.3f}–{row['precision_high']:.3f})"
            f" beside {found.mean():.3f} at random, {row['recall']:.1%} of frauds caught"
        )
    print(f"  AUC above plain boosting's: {difference.value:+.4f} ({difference.low:+.4f} to {difference.high:+.4f}, DeLong)")
    for name, row in (("ours", ours), ("plain", plain)):
        print(
            f"  recall at 5 % false positives, {name}: {row['value']:.3f} ({row['low']:.3f}–{row['high']:.3f}) of {int(found.sum())} frauds"
        )
    plain_name = "plain HistGradientBoosting"
    return [
        Figure("fraud.auc.vehicle", metrics.auc(found, mine), "AUC", plain_name, metrics.auc(found, theirs)),
        Figure("fraud.recall_at_5fpr.vehicle", ours["value"], "share", plain_name, plain["value"]),
    ]


def identifiers(world: Any, *, blank: float = 0.0, seed: int = 0) -> dict[str, np.ndarray]:
    """{kind: (n,) normalised identifiers}; `blank`: a share of each that is missing."""
    columns = {
        kind: world.applicant[kind].to_numpy(object) for kind in ("email", "bank_account", "address", "national_id", "employer", "name")
    }
    columns["phone"] = np.array([re.sub(r"\D", "", phone)[-10:] for phone in world.applicant["phone"]], dtype=object)
    columns["device"] = world.frame["device_id"].to_numpy(object)
    rng = np.random.default_rng(seed)
    return {kind: np.where(rng.random(len(values)) < blank, None, values) if blank else values for kind, values in columns.items()}


def starter_rules() -> list[rules.Rule]:
    import tomllib

    pack = tomllib.loads(STARTER.read_text())
    return [
        rules.Rule(row["code"], 1, row["name"], row["severity"], rules.parse(row["conditions"]), row.get("family", ""))
        for row in pack["rule"]
    ]


def rings(applications: int = 60_000) -> Figures:
    """The starter rules alone, no label known: which planted rings have a flagged loan before their third."""
    world = generate(World(seed=3, applications=applications))
    at = links.microseconds(world.submitted_at)
    ring, amount = world.fraud_ring, world.frame["amount"].to_numpy(float)
    pack = starter_rules()
    outcomes = {}
    for name, blank in (("as planted", 0.0), ("a third of all identifiers missing", 1 / 3)):
        linked = links.link_features(at, Identifiers.from_columns(identifiers(world, blank=blank)))
        verdicts = _verdicts(pack, linked.frame, world.frame)
        flagged = np.array([rules.SEVERITIES.index(verdict.severity) >= 2 if verdict.severity else False for verdict in verdicts])
        every = np.array([verdict.flagged for verdict in verdicts])
        score = np.array([verdict.score for verdict in verdicts])
        caught, broad = evaluate.rings_caught(ring, at, flagged), evaluate.rings_caught(ring, at, every)
        day = world.submitted_at.dt.floor("D").to_numpy()
        daily = evaluate.at_capacity(ring >= 0, score, day, capacity=2, amount=amount)
        outcomes[name] = (caught, broad, daily)
        early = f"{caught['rings_caught']} of {caught['rings']} rings flagged before their third loan"
        print(f"  {name}: {early}, precision {caught['precision']:.3f} of {caught['flags']} flags (severity high)")
        print(f"    with medium ones too: precision {broad['precision']:.3f} of {broad['flags']} flags")
        value = f"value caught {daily['value_share']:.1%} of {daily['value_at_stake']:,.0f}"
        print(f"    2 looked at a day: precision {daily['precision']:.3f}, {daily['recall']:.1%} of fraud loans, {value}")
        for warning in linked.warnings:
            print(f"    {warning}")
    half = len(world) // 2
    odd = Anomaly.fit(world.frame.iloc[:half], world.schema).score(world.frame.iloc[half:])
    rank = metrics.auc((ring[half:] >= 0).astype(int), odd.unusual)
    print(f"  anomaly alone, on what applications say: AUC {rank:.3f} for ring loans (a story a little too good is not unusual)")
    caught = outcomes["as planted"][0]
    return [
        Figure("fraud.ring_precision", caught["precision"], "share", "target", 0.9),
        Figure("fraud.ring_recall", caught["ring_recall"], "share of rings before their third loan"),
    ]


def _verdicts(pack: list[rules.Rule], linked: pd.DataFrame, frame: pd.DataFrame) -> list[merge.Verdict]:
    wanted = sorted({condition.feature for rule in pack for condition in rule.conditions})
    columns = [(linked if name in linked else frame)[name].tolist() for name in wanted]
    return [merge.merge(rules.trace_all(pack, dict(zip(wanted, row, strict=True)))) for row in zip(*columns, strict=True)]


def linking(applications: int) -> Figures:
    """From normalised text identifiers of all applications to every link feature, in one process."""
    world = generate(World(seed=3, applications=applications))
    at, columns = links.microseconds(world.submitted_at), identifiers(world)
    del world
    began = time.perf_counter()
    ids = Identifiers.from_columns(columns)
    linked = links.link_features(at, ids)
    seconds = time.perf_counter() - began
    groups = int((linked.frame["component_size"] > 0).sum())
    print(f"  {applications:,} applications, {len(ids):,} identifiers, {groups:,} with earlier links: {seconds:.1f} s")
    return [Figure("fraud.link_s", seconds, f"s for {applications:,}", "target", 60.0)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--links", type=int, default=1_000_000)
    parser.add_argument("--skip", nargs="*", default=[], choices=["vehicle", "rings", "links"])
    options = parser.parse_args()
    figures: Figures = []
    for name, run in (("vehicle", vehicle), ("rings", rings), ("links", lambda: linking(options.links))):
        if name in options.skip:
            continue
        print(f"{name}:")
        if name == "vehicle" and not (FOLDER / CLAIMS).exists():
            print(f"  {CLAIMS} is not in {FOLDER}: skipped.")
            continue
        figures += run()
    report.show(figures)
    print(f"Written to {report.write('fraud', figures)}.")


if __name__ == "__main__":
    main()
