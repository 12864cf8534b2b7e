"""The demand forecast: what came, what is expected with its intervals, and how earlier forecasts did."""

from __future__ import annotations

import csv
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, reverse

from loans.admin.base import DeskAdmin, ReadOnly, post_only
from loans.admin.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Tick
from loans.admin.curves import Curves, Line, axis, short_money
from loans.models import DemandForecast
from loans.queries.demand import DemandPage, demand_page
from loans.queries.words import money, percent
from loans.services import wakeups

MAKES = "loans.make_demandforecast"
ALL = "|"
SYNTHETIC = "Rests on generated applications: it says nothing of real demand."


@admin.register(DemandForecast)
class DemandForecastAdmin(ReadOnly, DeskAdmin):
    list_display = ("measure", "frequency", "as_of", "horizon", "seconds")
    list_filter = ("measure", "frequency")
    list_filter_submit = False
    list_before_template = "loans/make_forecast.html"
    empty_title = "No forecast yet"
    empty_text = "It is made every night. To have it now: manage.py forecast"

    def is_synthetic(self, row: DemandForecast) -> bool:
        return row.synthetic

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).defer("data")

    def custom_paths(self) -> list[URLPattern]:
        return [self.at("make/", self.make_view, "make"), self.at("<int:object_id>/forecast.csv", self.csv_view, "csv")]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        make_url = reverse("admin:loans_demandforecast_make") if request.user.has_perm(MAKES) else ""
        return super().changelist_view(request, {**(extra_context or {}), "make_url": make_url})

    @post_only
    def make_view(self, request: HttpRequest) -> HttpResponse:
        if not request.user.has_perm(MAKES):
            raise PermissionDenied
        sent = wakeups.wake_forecast()
        self.message_user(
            request, "A worker makes the forecast; it appears here." if sent else "The broker is away; try again in a minute."
        )
        return HttpResponseRedirect(self.the_list())

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        vintage = self.seen_or_refused(request, object_id)
        if vintage is None:
            return self.gone(request, object_id)
        page = self._page(request, vintage)
        shown = money if vintage.measure == "amount" else lambda value: "–" if value is None else f"{value:,.0f}"
        context = {
            "title": str(vintage),
            "original": vintage,
            "page": page,
            "all": ALL,
            "chart": over_time(page, of_money=vintage.measure == "amount"),
            "rows": [{name: value if name == "period" else shown(value) for name, value in row.items()} for row in page.rows],
            "past": [(period, shown(value)) for period, value in page.past],
            "record": page.record and {name: percent(page.record[name]) for name in ("ours", "naive")},
            "came": [(each.level, each.origins, percent(each.ours), percent(each.naive), percent(each.coverage80)) for each in page.came],
            "synthetic": SYNTHETIC if vintage.synthetic else "",
            "csv_url": f"{reverse('admin:loans_demandforecast_csv', args=[vintage.pk])}?{request.GET.urlencode()}",
        }
        return self.render(request, "admin/loans/demandforecast/page.html", context)

    def csv_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        vintage = self.seen_or_refused(request, str(object_id))
        if vintage is None:
            return self.gone(request, str(object_id))
        page = self._page(request, vintage)
        response = HttpResponse(content_type="text/csv; charset=utf-8")
        response["Content-Disposition"] = f'attachment; filename="forecast-{vintage.frequency}-{vintage.measure}-{vintage.pk}.csv"'
        writer = csv.writer(response)
        writer.writerow(["period", "forecast", "low 80 %", "high 80 %", "low 95 %", "high 95 %", "seasonal naive", "came"])
        for row in page.rows:
            writer.writerow([row[name] for name in ("period", "point", "lo80", "hi80", "lo95", "hi95", "baseline", "came")])
        return response

    @staticmethod
    def _page(request: HttpRequest, vintage: DemandForecast) -> DemandPage:
        try:
            return demand_page(vintage, request.GET.get("series", ALL))
        except KeyError as error:
            raise Http404("This vintage has no such series.") from error


def over_time(page: DemandPage, *, of_money: bool) -> Curves | None:
    """What came (solid), the forecast (dashed) and its 80 % interval (band), over the periods."""
    if not page.rows:
        return None
    past, rows = page.past, page.rows
    periods = [period for period, _ in past if period < rows[0]["period"]] + [row["period"] for row in rows]
    place = {period: LEFT + (WIDTH - LEFT - RIGHT) * number / max(len(periods) - 1, 1) for number, period in enumerate(periods)}
    values = [value for _, value in past] + [row["hi80"] for row in rows]
    label = short_money if of_money else lambda value: f"{value:,.0f}"
    y, y_ticks = axis(0.0, max(*values, 1e-9), HEIGHT - BOTTOM, TOP, label, whole=True)

    def points(pairs: list[tuple[str, float]]) -> str:
        return " ".join(f"{place[period]:.1f},{y(value)}" for period, value in pairs if period in place)

    upper = [(row["period"], row["hi80"]) for row in rows]
    lower = [(row["period"], row["lo80"]) for row in reversed(rows)]
    every = max(len(periods) // 4, 1)
    return Curves(
        lines=[
            Line(points(past), "What came"),
            Line(points([(row["period"], row["point"]) for row in rows]), "The forecast", dashed=True),
        ],
        x_ticks=[Tick(f"{place[period]:.1f}", period) for period in periods[every // 2 :: every]],
        y_ticks=y_ticks,
        band=points(upper) + " " + points(lower),
    )
