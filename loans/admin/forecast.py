"""The demand forecast: what came, what is expected with its intervals, and how earlier forecasts did."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models.fields.json import KT
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from loans.admin import exports
from loans.admin.base import DeskAdmin, ReadOnly, post_only
from loans.admin.charts import BOTTOM, LEFT, RIGHT, TOP, Tick
from loans.admin.curves import Curves, Line, axis, short_money
from loans.models import DemandForecast
from loans.queries.demand import DemandPage, demand_page
from loans.queries.words import moment_of, money, percent, whole
from loans.services import wakeups

MAKES = "loans.make_demandforecast"
ALL = "|"
WIDTH, HEIGHT = 900, 260
"""The only picture on its card, which is as wide as the page."""
SYNTHETIC = _("Rests on generated applications: it says nothing of real demand.")


@admin.register(DemandForecast)
class DemandForecastAdmin(ReadOnly, DeskAdmin):
    list_display = ("measure", "frequency", "as_of_shown", "ahead", "next_shown", "good")
    list_filter = ("measure", "frequency")
    list_filter_submit = False
    list_before_template = "loans/make_forecast.html"
    empty_title = _("No forecast yet")
    empty_text = _("It is made every night. To have it now: manage.py forecast")

    def is_synthetic(self, row: DemandForecast) -> bool:
        return row.synthetic

    def get_queryset(self, request: HttpRequest) -> Any:
        """A vintage has some 100 KB; the list takes the total's next period and record out of it, and a page reads its one."""
        first = {name: KT(f"data__series__0__rows__0__{name}") for name in ("point", "lo80", "hi80")}
        record = {name: KT(f"data__series__0__backtest__{name}") for name in ("wape", "naive_wape", "origins")}
        return super().get_queryset(request).defer("data").annotate(**first, **record)

    @display(description=_("As of"), ordering="as_of")
    def as_of_shown(self, obj: DemandForecast) -> SafeString:
        return format_html('<span class="ld-number">{}</span>', moment_of(obj.as_of))

    @display(description=_("Ahead"))
    def ahead(self, obj: DemandForecast) -> str:
        return f"{obj.horizon} {obj.get_frequency_display().lower()}"

    @display(description=_("The first of them"))
    def next_shown(self, obj: DemandForecast) -> SafeString | str:
        if obj.point is None:
            return gettext("too little history")
        shown = money if obj.measure == "amount" else lambda value: whole(value)
        point, low, high = (shown(round(float(value))) for value in (obj.point, obj.lo80, obj.hi80))
        sure = gettext("%(low)s to %(high)s in 80 of 100") % {"low": low, "high": high}
        return format_html('<span class="ld-number">{}</span><span class="ld-under ld-number">{}</span>', point, sure)

    @display(description=_("1 − WAPE (seasonal naive)"))
    def good(self, obj: DemandForecast) -> SafeString | str:
        if obj.wape is None or obj.naive_wape is None:
            return "–"
        ours, naive = (percent(1 - float(value), 0) for value in (obj.wape, obj.naive_wape))
        return format_html(
            '<span class="ld-number">{} ({})</span><span class="ld-under">all applications, {} origins</span>', ours, naive, obj.origins
        )

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
            request,
            gettext("A worker makes the forecast; it appears here.") if sent else gettext("The broker is away; try again in a minute."),
        )
        return HttpResponseRedirect(self.the_list())

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        vintage = self.seen_or_refused(request, object_id)
        if vintage is None:
            return self.gone(request, object_id)
        page = self._page(request, vintage)
        figure = money if vintage.measure == "amount" else whole

        def shown(value: float | None) -> str:
            return "–" if value is None else figure(round(value))

        context = {
            "title": str(vintage),
            "original": vintage,
            "page": page,
            "ahead": f"{vintage.horizon} {vintage.get_frequency_display().lower()}",
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
        heads = ["period", "forecast", "low 80 %", "high 80 %", "low 95 %", "high 95 %", "seasonal naive", "came"]
        ahead = {row["period"] for row in page.rows}
        # All that the picture shows: what came before, then the forecast.
        rows = [[period, *[None] * 6, value] for period, value in page.past if period not in ahead]
        rows += [[row[name] for name in ("period", "point", "lo80", "hi80", "lo95", "hi95", "baseline", "came")] for row in page.rows]
        return exports.table(request, vintage, f"{vintage.frequency}-{vintage.measure}", heads, rows)

    @staticmethod
    def _page(request: HttpRequest, vintage: DemandForecast) -> DemandPage:
        try:
            return demand_page(vintage, request.GET.get("series", ALL))
        except KeyError as error:
            raise Http404(gettext("This vintage has no such series.")) from error


def over_time(page: DemandPage, *, of_money: bool) -> Curves | None:
    """What came (solid), the forecast (dashed) and its 80 % interval (band), over the periods."""
    if not page.rows:
        return None
    rows = page.rows
    past = [(period, value) for period, value in page.past if period < rows[0]["period"]]
    later = [(period, value) for period, value in page.past if period >= rows[0]["period"]]
    periods = [period for period, _ in past] + [row["period"] for row in rows]
    place = {period: LEFT + (WIDTH - LEFT - RIGHT) * number / max(len(periods) - 1, 1) for number, period in enumerate(periods)}
    values = [value for _, value in page.past] + [row["hi80"] for row in rows]
    label = short_money if of_money else lambda value: whole(value)
    y, y_ticks = axis(0.0, max(*values, 1e-9), HEIGHT - BOTTOM, TOP, label, whole=True)

    def points(pairs: list[tuple[str, float]]) -> str:
        return " ".join(f"{place[period]:.1f},{y(value)}" for period, value in pairs if period in place)

    # The forecast goes on from the last value that came; there nothing is uncertain.
    upper = past[-1:] + [(row["period"], row["hi80"]) for row in rows]
    lower = [(row["period"], row["lo80"]) for row in reversed(rows)]
    every = max(len(periods) // 8, 1)
    return Curves(
        lines=[
            Line(points(past + later), gettext("What came")),
            Line(points(past[-1:] + [(row["period"], row["point"]) for row in rows]), gettext("The forecast"), dashed=True),
        ],
        x_ticks=[Tick(f"{place[period]:.1f}", period) for period in periods[every // 2 :: every]],
        y_ticks=y_ticks,
        band=points(upper) + " " + points(lower),
        width=WIDTH,
        height=HEIGHT,
        right=WIDTH - RIGHT,
        bottom=HEIGHT - BOTTOM,
    )
