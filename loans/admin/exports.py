"""Any list as a file: the rows and columns that its reader sees, filtered and ordered as he has them, capped and logged."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from html import unescape
from typing import Any

from django.conf import settings
from django.contrib.admin.utils import label_for_field, lookup_field
from django.db import models
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.html import strip_tags
from django.utils.timezone import is_aware, now
from django.utils.translation import gettext as _

from loans.services import audit

KINDS = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NUMBER = re.compile(r"[+-]?[0-9][0-9.,]*%?")


def safe(text: str) -> str:
    """Text that no spreadsheet takes for a formula: what would start one gets an apostrophe before it; plain numbers stay as they are."""
    return f"'{text}" if text.startswith(_FORMULA) and not _NUMBER.fullmatch(text) else text


def plain(value: Any) -> str:
    """A cell of a list as text: its markup gone, its parts apart."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if hasattr(value, "isoformat"):
        return value.isoformat(sep=" ", timespec="seconds") if hasattr(value, "hour") and is_aware(value) else value.isoformat()
    text = str(value)
    if hasattr(value, "__html__"):
        text = unescape(strip_tags(text.replace("<", " <")))
    return " ".join(text.split())


def export(model_admin: Any, request: HttpRequest, kind: str) -> HttpResponse:
    """The list that this request's filters, search and order give, as a file of at most EXPORT_MAX_ROWS rows."""
    if kind not in KINDS:
        raise Http404
    changelist = model_admin.get_changelist_instance(request)
    names = [name for name in changelist.list_display if name != "action_checkbox"]
    most = settings.EXPORT_MAX_ROWS
    rows = list(changelist.queryset[: most + 1])
    capped, rows = len(rows) > most, rows[:most]
    labels = [plain(label_for_field(name, model_admin.model, model_admin)) for name in names]
    heads = [f"{label[:1].upper()}{label[1:]}" for label in labels]
    lines = _lines(model_admin, names, rows)
    body = _csv(heads, lines) if kind == "csv" else _xlsx(heads, lines)
    # Which filters, not what they were set to: a search may be somebody's name.
    used = sorted(set(request.GET) - {"p", "o", "after", "before"})
    facts = {"list": model_admin.opts.model_name, "kind": kind, "rows": len(rows), "columns": names, "filters": used}
    audit.record("list.exported", actor=request.user, **facts)
    response = HttpResponse(body, content_type=KINDS[kind])
    part = f"-first-{most}" if capped else ""
    response["Content-Disposition"] = f'attachment; filename="{model_admin.opts.model_name}-{now():%Y-%m-%d}{part}.{kind}"'
    response["Cache-Control"] = "no-store"
    return response


def table(request: HttpRequest, subject: models.Model, name: str, heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> HttpResponse:
    """What a chart or a table of a page shows, as CSV. subject: whose page it is; name: which of its tables."""
    lines = [[safe(_written(value)) for value in row] for row in rows]
    audit.record("chart.exported", actor=request.user, subject=subject, chart=name, rows=len(lines))
    response = HttpResponse(_csv([safe(head) for head in heads], lines), content_type=KINDS["csv"])
    response["Content-Disposition"] = f'attachment; filename="{subject._meta.model_name}-{subject.pk}-{name}.csv"'
    response["Cache-Control"] = "no-store"
    return response


def _written(value: Any) -> str:
    """A number as a machine reads it, anything else as the lists write it."""
    return repr(round(value, 6)) if isinstance(value, float) else plain(value)


def _lines(model_admin: Any, names: list[str], rows: list[models.Model]) -> Iterator[list[str]]:
    for row in rows:
        row.marked = model_admin.is_synthetic(row)
        cells = []
        for name in names:
            field, _attribute, value = lookup_field(name, row, model_admin)
            if field is not None and field.flatchoices:
                value = dict(field.flatchoices).get(value, value)
            elif field is not None and isinstance(field.remote_field, models.ManyToOneRel):
                value = getattr(row, field.name)
            cells.append(safe(plain(value)))
        yield cells


def _csv(heads: list[str], lines: Iterable[list[str]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(heads)
    writer.writerows(lines)
    # The mark without which Excel reads UTF-8 as something else
    return b"\xef\xbb\xbf" + text.getvalue().encode()


def _xlsx(heads: list[str], lines: Iterator[list[str]]) -> bytes:
    from openpyxl import Workbook
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

    book = Workbook(write_only=True)
    sheet = book.create_sheet()
    sheet.append(heads)
    for line in lines:
        cells = []
        for text in line:
            cell = WriteOnlyCell(sheet, value=ILLEGAL_CHARACTERS_RE.sub("", text))
            cell.data_type = "s"  # text, whatever it begins with
            cells.append(cell)
        sheet.append(cells)
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()
