"""A model card: one page to print on what a version is for, what it rests on, what it is worth, and what it must not be used for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from loans.models import ModelKind, ModelVersion
from loans.queries.model_amount import AmountFigure, amount_figures
from loans.queries.model_fairness import Fairness, fairness
from loans.queries.model_fraud import SELECTED, PartFigure, fraud_figures, fraud_lines
from loans.queries.model_page import ModelPage, model_page
from loans.queries.model_policy import Claim, policy_page
from loans.queries.report import Interval, Line, dig, number_of, rows_of
from loans.queries.words import moment_of, number, percent, whole

PURPOSES = {
    ModelKind.DEFAULT_RISK: (
        gettext_lazy(
            "Estimates the probability that a loan applied for at this lender will default, as one input to a loan "
            "officer's decision, with the reasons for and against."
        )
    ),
    ModelKind.LOAN_AMOUNT: (
        gettext_lazy(
            "Estimates the range of amounts that applicants like this one carried, capped by an affordability rule, "
            "as one input to a loan officer's decision."
        )
    ),
    ModelKind.SEGMENTS: (
        gettext_lazy(
            "Puts applications into groups of applicants who are alike, where the data have any, for overviews and "
            "filters. No decision rests on a segment."
        )
    ),
    ModelKind.FRAUD: (
        gettext_lazy(
            "Puts applications in an order for investigators to look at, with what speaks against each in words. It "
            "declines nobody; a person makes the finding."
        )
    ),
}
NOT_FOR = (
    gettext_lazy("Deciding on its own: without a person's decision nothing is approved or declined."),
    gettext_lazy("Another lender's applicants, another product or another market than those in its data."),
    gettext_lazy("Applicants unlike all in its data; the score then rests on what others were like."),
    gettext_lazy("Setting limits on people for reasons other than this application: employment, insurance, housing or marketing."),
    gettext_lazy(
        "Collections, pricing of existing loans, or any time after the loan was made: it knows what is known at application only."
    ),
)
LABELS = {
    "default": gettext_lazy("Defaulted: learned as bad"),
    "repaid": gettext_lazy("Repaid: learned as good"),
    "immature": gettext_lazy("Still too young or running: not learned from"),
    "embargo": gettext_lazy("Under the embargo: not learned from"),
    "unknown": gettext_lazy("Outcome not known: not learned from"),
    "rejected": gettext_lazy("Rejected before: counted, never taken for good"),
    "declined": gettext_lazy("Declined here: no outcome, never taken for good"),
    "undecided": gettext_lazy("Not decided yet"),
}


@dataclass(frozen=True)
class Count:
    title: str
    rows: str


@dataclass(frozen=True)
class Card:
    """figures: each beside its baseline. facts: what identifies the artifact."""

    version: ModelVersion
    page: ModelPage
    purpose: str
    not_for: tuple[str, ...]
    labels: str
    sample: str
    label_warnings: list[str]
    counts: list[Count]
    columns: list[str]
    figures: list[Line]
    amounts: list[AmountFigure]
    amount_words: str
    frauds: list[PartFigure]
    fairness: Fairness | None
    claims: list[Claim]
    silent: list[str]
    limits: list[str]
    facts: list[tuple[str, str]]


def model_card(version: ModelVersion, policy: Any) -> Card:
    report = version.report if isinstance(version.report, dict) else {}
    risk = version.kind == ModelKind.DEFAULT_RISK
    page = model_page(version)
    claimed = policy_page(version, policy) if risk else None
    return Card(
        version=version,
        page=page,
        purpose=PURPOSES.get(version.kind, _("One input to a person's decision.")),
        not_for=NOT_FOR,
        labels=str(dig(report, "labels", "in_words") or ""),
        sample=str(dig(report, "sample", "in_words") or ""),
        label_warnings=[str(text) for text in dig(report, "labels", "warnings") or []],
        counts=_counts(report),
        columns=[str(row.get("title") or row.get("name")) for row in rows_of(dig(report, "data", "columns"))],
        figures=_figures(report) if risk else fraud_lines(report) if version.kind == ModelKind.FRAUD else [],
        amounts=amount_figures(report) if version.kind == ModelKind.LOAN_AMOUNT else [],
        amount_words="" if risk else str(report.get("in_words") or ""),
        frauds=fraud_figures(report) if version.kind == ModelKind.FRAUD else [],
        fairness=fairness(version) if risk else None,
        claims=claimed.claims if claimed else [],
        silent=claimed.silent if claimed else [],
        limits=_limits(page, report, risk),
        facts=_facts(version, report),
    )


def _figures(report: dict[str, Any]) -> list[Line]:
    figures, base = dig(report, "champion", "figures") or {}, dig(report, "baselines") or {}

    def line(label: str, name: str, digits: int, beside: str, help: str) -> Line:
        return Line(label, Interval.of(figures.get(name)).words(digits), beside, help)

    profit, accuracy = Interval.of(figures.get("profit")), Interval.of(figures.get("accuracy"))
    return [
        line("AUC", "auc", 3, "0.5 for a coin", _("How often a loan that defaulted is ranked above one that was repaid.")),
        line("KS", "ks", 3, "0 for a coin", _("The most that the scores of the two groups are apart.")),
        line(
            _("Brier score"),
            "brier",
            4,
            _("%(number)s with one rate for all") % {"number": number(number_of(base.get("prior_brier")), 4)},
            _("Less is better."),
        ),
        line(
            "Log-loss",
            "log_loss",
            4,
            _("%(number)s with one rate for all") % {"number": number(number_of(base.get("prior_log_loss")), 4)},
            _("Less is better."),
        ),
        line("Observed / expected", "oe", 2, "1 is exact", _("Defaults that came, over the defaults that were promised.")),
        line(_("Calibration slope"), "slope", 2, "1 is exact", _("Below 1 the probabilities were too extreme.")),
        Line(
            "Accuracy",
            _shares(accuracy),
            _("%(share)s by always saying the more frequent") % {"share": percent(number_of(base.get("majority_accuracy")))},
            "",
        ),
        Line(
            "Profit", _shares(profit, 2), _("of all that was applied for"), _("Under the margin and loss that the training reckoned with.")
        ),
    ]


def _shares(figure: Interval, digits: int = 1) -> str:
    if figure.low is None or figure.high is None:
        return percent(figure.value, digits)
    low, high = (f"{100 * bound:.{digits}f}%".replace("-", "−") for bound in (figure.low, figure.high))
    return f"{percent(figure.value, digits)} ({low} to {high})"


def _counts(report: dict[str, Any]) -> list[Count]:
    counts = {**(dig(report, "labels", "counts") or {}), **(report.get("without_outcome") or {})}
    return [Count(title, number(int(many))) for key, title in LABELS.items() if (many := number_of(counts.get(key))) is not None]


def _limits(page: ModelPage, report: dict[str, Any], risk: bool) -> list[str]:
    made = [*page.warnings, *(finding.message for finding in page.findings if finding.message not in page.warnings)]
    if page.version.synthetic:
        made.insert(0, _("Trained on generated applications: worth nothing for real ones."))
    if risk:
        made.append(
            _("Only applications that were approved have outcomes; how those would have fared that were declined is not known to it.")
        )
    if page.version.kind == ModelKind.FRAUD:
        made.append(SELECTED)
    if dig(report, "split", "how") not in (None, "time"):
        made.append(_("It was not judged on later loans than it learned from, so that its figures say nothing of a changing economy."))
    return made


def _facts(version: ModelVersion, report: dict[str, Any]) -> list[tuple[str, str]]:
    seconds, memory = number_of(report.get("seconds")), number_of(report.get("peak_memory_mb"))
    made = [
        ("Version", str(version)),
        ("State", version.get_state_display()),
        ("Rung", str(dig(report, "choice", "title") or version.algorithm)),
        ("Trained", f"{moment_of(version.created_at)} UTC" + (f" by {_who(version.created_by)}" if version.created_by else "")),
        ("Seed", str(report.get("seed", "–"))),
        (_("Report layout"), str(report.get("version", "–"))),
        ("Artifact", version.artifact),
        (_("SHA-256 of the artifact"), version.sha256),
        (_("Fingerprint of the data"), version.data_fingerprint or "–"),
    ]
    if version.promoted_at:
        by = f" by {_who(version.promoted_by)}" if version.promoted_by else ""
        made.insert(4, ("Promoted", f"{moment_of(version.promoted_at)} UTC{by}: {version.promotion_reason}"))
    environment = version.environment if isinstance(version.environment, dict) else {}
    libraries = environment.get("libraries") or {}
    if libraries:
        made.append((_("Made with"), ", ".join(f"{name} {found}" for name, found in libraries.items())))
    if environment.get("code"):
        made.append(("Code", str(environment["code"]) + (f" ({environment['commit']})" if environment.get("commit") else "")))
    if seconds is not None:
        made.append((_("Time to train"), f"{whole(seconds)} s"))
    if memory is not None:
        made.append((_("Peak memory"), f"{whole(memory)} MB"))
    return made


def _who(user: Any) -> str:
    return user.get_full_name() or user.get_username()
