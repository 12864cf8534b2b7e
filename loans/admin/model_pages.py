"""The pages of a model version beside its first: what its cut-off earns, its card to print, the tables it adds up."""

from __future__ import annotations

import csv
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.urls import URLPattern, reverse

from loans.admin import charts, curves
from loans.models import ModelKind, ModelVersion
from loans.queries.model_card import model_card
from loans.queries.model_page import SYNTHETIC
from loans.queries.model_policy import PolicyPage, csv_rows, policy_page
from loans.queries.words import percent
from loans.services import model_tables, policy

SEES_POLICIES = "loans.view_policy"


class ModelPages:
    """For the admin of model versions. All of them only read, and answer GET alone."""

    def page_paths(self) -> list[URLPattern]:
        return [
            self.at("<int:object_id>/policy/", self.policy_view, "policy"),
            self.at("<int:object_id>/policy.csv", self.policy_csv_view, "policy_csv"),
            self.at("<int:object_id>/card/", self.card_view, "card"),
            self.at("<int:object_id>/tables/", self.tables_view, "tables"),
        ]

    def links(self, request: HttpRequest, version: ModelVersion) -> list[tuple[str, str]]:
        """(title, address) of the pages that this version has and this reader may see."""
        made = []
        if version.kind == ModelKind.DEFAULT_RISK and request.user.has_perm(SEES_POLICIES):
            made.append(("What a cut-off earns", "policy"))
        if model_tables.has_tables(version):
            made.append(("Its tables, to read", "tables"))
        made.append(("Model card, to print", "card"))
        return [(title, reverse(f"admin:loans_modelversion_{name}", args=[version.pk])) for title, name in made]

    def policy_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        version = self._read(request, object_id, SEES_POLICIES)
        if not isinstance(version, ModelVersion):
            return version
        return self.render(request, "admin/loans/modelversion/policy.html", policy_context(version, version_url=self.page_of(version)))

    def policy_csv_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        version = self._read(request, object_id, SEES_POLICIES)
        if not isinstance(version, ModelVersion):
            return version
        response = HttpResponse(content_type="text/csv; charset=utf-8")
        response["Content-Disposition"] = f'attachment; filename="policy-{version.kind}-v{version.version}.csv"'
        csv.writer(response).writerows(csv_rows(policy_page(version, policy.in_force().policy)))
        return response

    def card_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        version = self._read(request, object_id)
        if not isinstance(version, ModelVersion):
            return version
        card = model_card(version, policy.in_force().policy)
        context = {
            "title": f"Model card: {version}",
            "original": version,
            "card": card,
            "calibration": charts.calibration(card.page.reliability),
            "quarters": curves.by_quarter(card.page.quarters),
            "reliability": reliability_rows(card.page.reliability),
            "synthetic": SYNTHETIC if version.synthetic else "",
            "version_url": self.page_of(version),
        }
        return self.render(request, "admin/loans/modelversion/card.html", context)

    def tables_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        from mlcore.artifacts import ArtifactError

        version = self._read(request, object_id)
        if not isinstance(version, ModelVersion):
            return version
        tables, problem = None, ""
        try:
            tables = model_tables.model_tables(version)
        except model_tables.NoTables:
            problem = f"{version} is not a sum of tables: only the pairwise rung is. Its page says what it goes by."
        except (ArtifactError, OSError):
            problem = f"The artifact of {version} can't be read or is not what was stored, so there is nothing to show. Restore it first."
        context = {
            "title": f"Tables of {version}",
            "original": version,
            "tables": tables,
            "problem": problem,
            "version_url": self.page_of(version),
        }
        return self.render(request, "admin/loans/modelversion/tables.html", context)

    def _read(self, request: HttpRequest, object_id: int, permission: str | None = None) -> ModelVersion | HttpResponse:
        """The version, or the answer where there is none to show."""
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        version = self.seen_or_refused(request, str(object_id), permission)
        return self.gone(request, str(object_id)) if version is None else version


def policy_context(version: ModelVersion, *, version_url: str) -> dict[str, Any]:
    """For the template of the policy page, from whichever admin it is opened."""
    page = policy_page(version, policy.in_force().policy)
    return {
        "title": "What a cut-off earns",
        "original": version,
        "page": page,
        "cut": percent(page.cutoff),
        "decline_from": percent(page.decline_from),
        "margin": percent(page.margin),
        "loss": percent(page.loss_given_default),
        "pictures": pictures(page),
        "rows": [(point.words, point is page.here, point is page.best) for point in page.points],
        "synthetic": SYNTHETIC if version.synthetic else "",
        "version_url": version_url,
        "csv_url": reverse("admin:loans_modelversion_policy_csv", args=[version.pk]),
    }


def pictures(page: PolicyPage) -> list[dict[str, Any]]:
    """The four curves, each with what it says in one sentence."""
    made = (
        (
            "Approved",
            "Share of the judged loans that would have been approved.",
            curves.against_cutoff(page, [("approval_rate", "approved")]),
            page.here.words["approval_rate"] if page.here else "",
        ),
        (
            "Bad rate",
            "Share of the approved that defaulted, with its 95% interval: wide where few are approved.",
            curves.against_cutoff(page, [("bad_rate", "defaulted")], band=("bad_low", "bad_high")),
            f"{page.here.words['bad_rate']} ({page.here.words['bad_range']})" if page.here else "",
        ),
        (
            "Profit",
            "In all, of the judged loans: as expected from the probabilities, and dashed as it came.",
            curves.against_cutoff(page, [("expected_profit", "expected"), ("realised_profit", "came")], of_money=True),
            f"{page.here.words['expected_profit']} expected, {page.here.words['realised_profit']} came" if page.here else "",
        ),
        (
            "Loss",
            "What the defaults among the approved cost: expected, and dashed as it came.",
            curves.against_cutoff(page, [("expected_loss", "expected"), ("realised_loss", "came")], of_money=True),
            f"{page.here.words['expected_loss']} expected, {page.here.words['realised_loss']} came" if page.here else "",
        ),
    )
    return [{"title": title, "help": help, "chart": chart, "here": here} for title, help, chart, here in made if chart]


def reliability_rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "rows": row.get("rows"),
            "predicted": percent(row.get("predicted")),
            "observed": percent(row.get("observed")),
            "interval": f"{percent(row.get('low'))}–{percent(row.get('high'))}",
        }
        for row in rows
    ]
