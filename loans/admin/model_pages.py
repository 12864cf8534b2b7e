"""The pages of a model version beside its first: what its cut-off earns, its card to print, the tables it adds up."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.urls import URLPattern, reverse
from django.utils.translation import gettext as _

from loans.admin import curves, exports
from loans.admin.chart_card import ChartCard, decimal, share
from loans.admin.model_charts import risk_cards
from loans.models import EditState, ModelKind, ModelVersion, MonitoringWindow, TableEdit
from loans.queries.model_card import model_card
from loans.queries.model_page import SYNTHETIC, ModelPage
from loans.queries.model_policy import PolicyPage, csv_rows, policy_page
from loans.queries.table_edit import edits_of
from loans.queries.words import percent
from loans.services import model_tables, policy, table_edits

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
            made.append((_("What a cut-off earns"), "policy"))
        if model_tables.has_tables(version):
            made.append((_("Its tables, to read"), "tables"))
        made.append((_("Model card, to print"), "card"))
        found = [(title, reverse(f"admin:loans_modelversion_{name}", args=[version.pk])) for title, name in made]
        if version.kind == ModelKind.DEFAULT_RISK and request.user.has_perm("loans.view_modelcomparison"):
            serving = ModelVersion.objects.filter(state="champion", kind=version.kind).values_list("pk", flat=True).first()
            query = f"?first={serving}&second={version.pk}" if serving not in (None, version.pk) else f"?first={version.pk}"
            found.append((_("Compare with another…"), reverse("admin:loans_modelcomparison_changelist") + query))
        if request.user.has_perm("loans.view_monitoringwindow") and MonitoringWindow.objects.filter(model_version=version).exists():
            found.append((_("Drift, over its windows"), reverse("admin:loans_monitoringwindow_model", args=[version.pk])))
        return found

    def policy_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        version = self._read(request, object_id, SEES_POLICIES)
        if not isinstance(version, ModelVersion):
            return version
        return self.render(request, "admin/loans/modelversion/policy.html", policy_context(version, version_url=self.page_of(version)))

    def policy_csv_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        version = self._read(request, object_id, SEES_POLICIES)
        if not isinstance(version, ModelVersion):
            return version
        heads, *rows = csv_rows(policy_page(version, policy.in_force().policy))
        return exports.table(request, version, "policy", heads, rows)

    def card_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        version = self._read(request, object_id)
        if not isinstance(version, ModelVersion):
            return version
        card = model_card(version, policy.in_force().policy)
        context = {
            "title": f"Model card: {version}",
            "original": version,
            "card": card,
            "edits": self.edits(request, version),
            "cards": self.placed(version, self._printed(version, card.page)),
            "synthetic": SYNTHETIC if version.synthetic else "",
            "version_url": self.page_of(version),
        }
        return self.render(request, "admin/loans/modelversion/card.html", context)

    @staticmethod
    def _printed(version: ModelVersion, page: ModelPage) -> list[ChartCard]:
        return [card for card in risk_cards(version, page) if card.name in ("calibration", "quarters")] if page.reliability else []

    def tables_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        from mlcore.artifacts import ArtifactError

        version = self._read(request, object_id)
        if not isinstance(version, ModelVersion):
            return version
        tables, problem = None, ""
        try:
            tables = model_tables.model_tables(version)
        except model_tables.NoTables:
            problem = _("%(version)s is not a sum of tables: only the pairwise rung is. Its page says what it goes by.") % {
                "version": version
            }
        except (ArtifactError, OSError):
            problem = _(
                "The artifact of %(version)s can't be read or is not what was stored, so there is nothing to show. Restore it first."
            ) % {"version": version}
        context = {
            "title": f"Tables of {version}",
            "original": version,
            "tables": tables,
            "may_propose": tables is not None and request.user.has_perm(table_edits.PROPOSES),
            "edited": bool(edits_of(version)),
            "waiting": self._waiting(request, version),
            "problem": problem,
            "version_url": self.page_of(version),
        }
        return self.render(request, "admin/loans/modelversion/tables.html", context)

    def _waiting(self, request: HttpRequest, version: ModelVersion) -> list[tuple[TableEdit, str]]:
        if not request.user.has_perm("loans.view_tableedit"):
            return []
        waiting = TableEdit.objects.filter(base=version, state=EditState.PROPOSED).only("pk")
        return [(edit, reverse("admin:loans_tableedit_change", args=[edit.pk])) for edit in waiting]

    def edits(self, request: HttpRequest, version: ModelVersion) -> list[dict[str, Any]]:
        """The edits that made this version, with where to read who decided on them."""
        sees = request.user.has_perm("loans.view_tableedit")
        return [
            {**vars(each), "url": reverse("admin:loans_tableedit_change", args=[each.pk]) if sees and each.pk is not None else ""}
            for each in edits_of(version)
        ]

    def _read(self, request: HttpRequest, object_id: int, permission: str | None = None) -> ModelVersion | HttpResponse:
        """The version, or the answer where there is none to show."""
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        version = self.seen_or_refused(request, str(object_id), permission)
        return self.gone(request, str(object_id)) if version is None else version


def policy_context(version: ModelVersion, *, version_url: str) -> dict[str, Any]:
    """For the template of the policy page, from whichever admin it is opened."""
    page = policy_page(version, policy.in_force().policy)
    csv_url = reverse("admin:loans_modelversion_policy_csv", args=[version.pk])
    return {
        "title": _("What a cut-off earns"),
        "original": version,
        "page": page,
        "cut": percent(page.cutoff),
        "decline_from": percent(page.decline_from),
        "margin": percent(page.margin),
        "loss": percent(page.loss_given_default),
        "pictures": pictures(page, csv_url=csv_url),
        "rows": [(point.words, point is page.here, point is page.best) for point in page.points],
        "synthetic": SYNTHETIC if version.synthetic else "",
        "version_url": version_url,
        "csv_url": csv_url,
    }


def pictures(page: PolicyPage, *, csv_url: str) -> list[ChartCard]:
    """The four curves, each with what it says in one sentence. Their data are one table, and one file."""
    at = page.here.words if page.here else None
    made = (
        (
            *("approved", _("Approved"), _("Share of the judged loans that would have been approved.")),
            *([("approval_rate", _("approved"))], None, at and at["approval_rate"]),
        ),
        (
            *("bad-rate", _("Bad rate"), _("Share of the approved that defaulted, with its 95% interval: wide where few are approved.")),
            *([("bad_rate", _("defaulted"))], ("bad_low", "bad_high"), at and f"{at['bad_rate']} ({at['bad_range']})"),
        ),
        (
            *("profit", _("Profit"), _("In all, of the judged loans: as expected from the probabilities, and dashed as it came.")),
            *([("expected_profit", _("expected")), ("realised_profit", _("came"))], None),
            at and _("{expected} expected, {came} came").format(expected=at["expected_profit"], came=at["realised_profit"]),
        ),
        (
            *("loss", _("Loss"), _("What the defaults among the approved cost: expected, and dashed as it came.")),
            *([("expected_loss", _("expected")), ("realised_loss", _("came"))], None),
            at and _("{expected} expected, {came} came").format(expected=at["expected_loss"], came=at["realised_loss"]),
        ),
    )
    cards = []
    for name, title, says, lines, band, here in made:
        of_money = name in ("profit", "loss")
        wanted = [*lines, *((each, label) for each, label in zip(band or (), (_("low 95%"), _("high 95%")), strict=False))]
        columns = [share(_("Cut-off")), *(decimal(label, 0) if of_money else share(label) for _name, label in wanted)]
        rows = [(point.cutoff, *(getattr(point, each) for each, _label in wanted)) for point in page.points]
        if here:
            says = f"{says} {_('At the policy’s cut-off: {figures}.').format(figures=here)}"
        chart = curves.against_cutoff(page, lines, band=band, of_money=of_money)
        beside = _("against the cut-off")
        cards.append(ChartCard(name, title, says, columns, rows, chart, "loans/curves.html", _("cut-off"), beside, csv_url=csv_url))
    return [card for card in cards if card.chart]
