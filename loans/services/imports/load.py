"""Checked rows into the database: a staging table by COPY, then set-based inserts, all of them in one transaction.

The staging table is temporary: it goes with the connection, so that a killed import leaves nothing. Each staged row takes the id
of its application when it is staged; the rows that hang on it then need no second look-up.
"""

# ruff: noqa: S608 - the names in these statements are our own; whatever a file says travels as data

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.db import DatabaseError, connection
from django.utils.translation import gettext

from loans.models import AttributeDefinition, ImportBatch, LoanProduct
from loans.services.imports.problems import ImportProblem, RowProblem
from loans.services.imports.rules import Fitted
from loans.services.imports.statements import insert_statement

if TYPE_CHECKING:
    import pyarrow as pa

PAGES_A_STEP = 2_000  # of 8 kB: some 40,000 rows an INSERT, about a second
MAX_PRODUCTS = 500
LOADED = (
    "loans_loanapplication",
    "loans_applicant",
    "loans_protectedattributes",
    "loans_loanoutcome",
    "loans_scoringjob",
    "loans_fraudassessment",
)
IMPORT_LOCK = 0x10AD  # any number of our own: imports load one after another, so that two can't wait for each other's rows


class Staging:
    """The rows of one file on their way in. columns: name → SQL type (`Validator.columns`)."""

    def __init__(self, batch: ImportBatch, fitted: Fitted, columns: dict[str, str]) -> None:
        self.batch, self.fitted, self.columns = batch, fitted, columns
        self.table = f"loandesk_import_{batch.pk}"

    def __enter__(self) -> Staging:
        kinds = [f"{name} {kind}" for name, kind in self.columns.items()]
        kinds.append("application_id int8 DEFAULT nextval(pg_get_serial_sequence('loans_loanapplication', 'id'))")
        if self.fitted.applicant:
            kinds.append("applicant_id int8 DEFAULT nextval(pg_get_serial_sequence('loans_applicant', 'id'))")
        self._run(f"DROP TABLE IF EXISTS pg_temp.{self.table}")
        self._run(f"CREATE TEMPORARY TABLE {self.table} ({', '.join(kinds)})")
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc_info: object) -> None:
        # In a failed transaction nothing can be run; its rollback, or the connection's end, drops the table.
        if not connection.needs_rollback:
            with suppress(DatabaseError) if kind else nullcontext():
                self._run(f"DROP TABLE IF EXISTS pg_temp.{self.table}")

    def _run(self, sql: str, parameters: Any = None) -> list[tuple]:
        with connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return cursor.fetchall() if cursor.description else []

    def add(self, rows: pa.Table) -> None:
        """COPY these rows in, as CSV: Arrow writes it without a Python object a cell, and tells NULL from empty text."""
        from pyarrow import csv

        if not rows.num_rows:
            return
        buffer = io.BytesIO()
        csv.write_csv(rows, buffer, csv.WriteOptions(include_header=False))
        with connection.cursor() as cursor, cursor.copy(f"COPY {self.table} ({', '.join(self.columns)}) FROM STDIN (FORMAT csv)") as copy:
            copy.write(buffer.getbuffer())

    def number_equal_rows(self) -> None:
        """Rows of the same content are several loans all the same: from the second on their reference gets a number."""
        self._run(
            f"UPDATE {self.table} t SET external_reference = t.external_reference || '-' || n.number FROM ("
            f"  SELECT application_id, row_number() OVER (PARTITION BY external_reference ORDER BY line) AS number FROM {self.table}"
            f"  WHERE external_reference IN (SELECT external_reference FROM {self.table} GROUP BY 1 HAVING count(*) > 1)"
            ") n WHERE n.application_id = t.application_id AND n.number > 1"
        )

    def remove_repeated(self, column: str, limit: int) -> tuple[int, list[RowProblem]]:
        """Take out rows whose reference stood in the file before; (how many, the first of them as problems)."""
        found = self._run(
            "WITH repeated AS (SELECT application_id, external_reference, line, min(line) OVER same AS first, row_number() OVER same AS n"
            f"   FROM {self.table} WHERE external_reference IN (SELECT external_reference FROM {self.table} GROUP BY 1 HAVING count(*) > 1)"
            "   WINDOW same AS (PARTITION BY external_reference ORDER BY line)),"
            f" gone AS (DELETE FROM {self.table} t USING repeated r WHERE r.application_id = t.application_id AND r.n > 1"
            "   RETURNING r.line, r.external_reference, r.first)"
            f" SELECT line, external_reference, first, count(*) OVER () FROM gone ORDER BY line LIMIT {int(limit)}"
        )
        problems = [
            RowProblem(line, column, reference, gettext("stands in line %(first)s already") % {"first": first})
            for line, reference, first, _ in found
        ]
        return (found[0][3] if found else 0), problems

    def last_month(self) -> datetime | None:
        """The first moment of the month of the latest application (UTC)."""
        if "submitted_at" not in self.columns:
            return _month_start(self.fitted.mapping.constants["submitted_at"])
        latest = self._run(f"SELECT max(submitted_at) FROM {self.table}")[0][0]
        return latest and _month_start(latest.astimezone(UTC))

    def wait_for_turn(self, waiting: Callable[[], None]) -> None:
        """Inside the transaction: go on once no other import is loading. Calls `waiting` every fifth of a second, which may raise."""
        while not self._run("SELECT pg_try_advisory_xact_lock(%s)", [IMPORT_LOCK])[0][0]:
            waiting()
            time.sleep(0.2)

    def make_products(self) -> None:
        if "product" in self.columns:
            found = self._run(f"SELECT DISTINCT product FROM {self.table} WHERE product IS NOT NULL LIMIT {MAX_PRODUCTS + 1}")
            codes = [code for (code,) in found]
            if len(codes) > MAX_PRODUCTS:
                rule = self.fitted.mapping.field_rule("product")
                raise ImportProblem(
                    gettext("Column %(column)s names more than %(max_products)s products; is it really the product?")
                    % {"column": f"{rule.column!r}", "max_products": MAX_PRODUCTS}
                )
        else:
            code = self.fitted.mapping.constants.get("product")
            codes = [code] if code else []
        known = set(LoanProduct.objects.filter(code__in=codes).values_list("code", flat=True))
        new = [
            LoanProduct(code=code, name=code.replace("-", " ").replace("_", " ").capitalize())
            for code in sorted(codes)
            if code not in known
        ]
        LoanProduct.objects.bulk_create(new, ignore_conflicts=True)

    def make_definitions(self) -> None:
        definitions = [
            AttributeDefinition(
                name=attribute.name,
                kind=attribute.rule.kind,
                label=attribute.label,
                unit=attribute.unit,
                direction=attribute.direction,
                known_at_application=attribute.known_at_application,
                protected=attribute.protected,
                changeable=attribute.changeable,
                family=attribute.family,
                reason_text=attribute.reason_text,
            )
            for attribute in self.fitted.attributes
        ]
        AttributeDefinition.objects.bulk_create(definitions, ignore_conflicts=True)

    def load(self, *, open_since: datetime | None, synthetic: bool, now: datetime) -> Iterator[tuple[float, int, int]]:
        """Insert everything, in steps: after each, (share done, applications loaded by it, of them open). In the caller's transaction.

        A row whose reference is in the database already changes nothing and is not counted.
        """
        # checked statement by statement: the queue of deferred checks of a large load would fill memory and stall the commit
        self._run("SET CONSTRAINTS ALL IMMEDIATE")
        self._run(f"ANALYZE {self.table}")
        pages = self._run(f"SELECT pg_relation_size('pg_temp.{self.table}') / current_setting('block_size')::int")[0][0]
        parameters = {"now": now, "batch": self.batch.pk, "branch": self.batch.branch_id, "synthetic": synthetic, "open_since": open_since}
        sql = insert_statement(self.table, self.fitted, self.columns, parameters)
        for start in range(0, pages, PAGES_A_STEP):
            end = start + PAGES_A_STEP
            loaded, opened = self._run(sql, {**parameters, "start": f"({start},0)", "end": f"({end},0)"})[0]
            yield min(end / pages, 1.0), loaded, opened
        self._run("SET CONSTRAINTS ALL DEFERRED")
        # What follows joins these rows before the server looks at them by itself; where the tables were empty it would expect none
        # and go through all outcomes once an application. Only one import is here at a time, so this lock is waited for by nobody.
        self._run(f"ANALYZE {', '.join(LOADED)}")


def check_definitions(fitted: Fitted) -> None:
    """Raise ImportProblem where an attribute is declared already, and otherwise than the mapping has it."""
    declared = {row.name: row for row in AttributeDefinition.objects.filter(name__in=[attribute.name for attribute in fitted.attributes])}
    lines = []
    for attribute in fitted.attributes:
        row = declared.get(attribute.name)
        if row is not None and row.kind != attribute.rule.kind:
            lines.append(
                gettext("- [attributes.%(name)s] kind: is %(kind)s; here it is declared as %(kind_2)s")
                % {"name": attribute.name, "kind": f"{attribute.rule.kind!r}", "kind_2": f"{row.kind!r}"}
            )
        if row is not None and row.protected != attribute.protected:
            is_protected = "is protected" if row.protected else gettext("is not protected")
            lines.append(
                gettext("- [attributes.%(name)s] protected: here the attribute %(is_protected)s; the mapping must say the same")
                % {"name": attribute.name, "is_protected": is_protected}
            )
    if lines:
        raise ImportProblem(
            gettext("The mapping %(name)s contradicts attributes that are declared already:\n") % {"name": f"{fitted.mapping.name!r}"}
            + "\n".join(lines)
        )


def _month_start(moment: datetime) -> datetime:
    return moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
