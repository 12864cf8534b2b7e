"""A chart with what it shows in words and its data: drawn for the eye, read out from the table, taken away as CSV."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.urls import URLPattern, reverse
from django.utils.translation import gettext as _

from loans.admin import exports
from loans.queries.words import number, percent

Cells = Sequence[Sequence[Any]]


@dataclass(frozen=True)
class Column:
    """title: its head. shown: how the page says a value; the CSV holds it as it is. words: text, which stands to the left."""

    title: str
    shown: Callable[[Any], str] = str
    words: bool = False


@dataclass(frozen=True)
class ChartCard:
    """name: its place in addresses, of letters, digits, - and _. help: what it shows, in a sentence; also read out with the picture.

    chart: the geometry that `template` draws, None where there is nothing to draw; `why` then says what to do about it. legend: (opacity,
    text) of lines that need telling apart.
    """

    name: str
    title: str
    help: str
    columns: Sequence[Column]
    rows: Cells
    chart: Any = None
    template: str = ""
    x_title: str = ""
    beside: str = ""
    why: str = ""
    csv_url: str = ""
    legend: Sequence[tuple[str, str]] = ()
    wide: bool = False

    @property
    def cells(self) -> list[list[tuple[str, bool]]]:
        """(text, whether it stands to the left) as the table shows them."""
        return [
            [("–" if value is None else column.shown(value), column.words) for column, value in zip(self.columns, row, strict=True)]
            for row in self.rows
        ]


def text(title: str) -> Column:
    return Column(title, words=True)


def whole(title: str) -> Column:
    return Column(title, lambda value: number(round(value)))


def share(title: str, digits: int = 1) -> Column:
    return Column(title, lambda value: percent(value, digits))


def decimal(title: str, digits: int = 3) -> Column:
    return Column(title, lambda value: number(float(value), digits))


class Charted:
    """For admins whose pages hold charts: the data of each as CSV, for whoever may see the page that it is on."""

    def chart_cards(self, request: HttpRequest, obj: Any) -> list[ChartCard]:
        """The charts on the object's page that this reader may see, without addresses."""
        raise NotImplementedError

    def chart_paths(self) -> list[URLPattern]:
        return [self.at("<int:object_id>/chart/<slug:name>.csv", self.chart_view, "chart")]

    def placed(self, obj: Any, cards: Sequence[ChartCard]) -> list[ChartCard]:
        """The cards with the addresses of their CSV."""
        address = f"admin:{self.opts.app_label}_{self.opts.model_name}_chart"
        return [replace(card, csv_url=reverse(address, args=[obj.pk, card.name])) for card in cards]

    def chart_view(self, request: HttpRequest, object_id: int, name: str) -> HttpResponse:
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        obj = self.seen_or_refused(request, str(object_id))
        if obj is None:
            return self.gone(request, str(object_id))
        return card_csv(request, obj, self.chart_cards(request, obj), name)


def card_csv(request: HttpRequest, subject: Any, cards: Sequence[ChartCard], name: str) -> HttpResponse:
    """The named chart's data, its heads alone where there are none. Raises Http404 where the page has no such chart."""
    card = next((card for card in cards if card.name == name), None)
    if card is None:
        raise Http404(_("This page has no such chart."))
    return exports.table(request, subject, name, [column.title for column in card.columns], card.rows)
