"""What a file's rows are like as a whole. Each row was checked by itself; that a column's unit is wrong shows only in all of them."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _

from loans.models import ImportBatch, LoanApplication
from loans.queries.frames import schema_in_force, window_frames
from loans.services.imports.problems import ImportProblem

MOST = 20_000
"""Rows of the batch that are looked at, the newest."""


def refuse_if_impossible(batch: ImportBatch) -> None:
    """Describe the batch's rows and keep the report on it. Raises ImportProblem where they can't be right; call inside the transaction."""
    from mlcore.quality import errors

    report = described(batch)
    wrong = errors(report)
    if wrong:
        raise ImportProblem(
            _("Nothing was loaded from %(file_name)s. ") % {"file_name": batch.file_name}
            + " ".join(wrong)
            + _(" Mend the mapping or the file.")
        )
    ImportBatch.objects.filter(pk=batch.pk).update(quality=report)


def described(batch: ImportBatch) -> dict[str, Any]:
    """The report of `mlcore.quality.data_quality` on the batch's newest rows."""
    import numpy as np

    from mlcore.quality import data_quality
    from mlcore.risk.base import Dataset

    schema = schema_in_force().usable()
    rows = window_frames([schema], LoanApplication.objects.filter(import_batch=batch), most=MOST)
    states = rows.outcomes["state"].to_numpy()
    default = np.where(states == "default", 1, np.where(states == "repaid", 0, -1)).astype(np.int8)
    report = data_quality(Dataset(rows.frames[0], default, schema, rows.submitted_at, rows.amount), now=timezone.now())
    for finding in report["findings"]:
        if finding["code"] == "duplicates":
            # The file names each of them by a reference or a line of its own: a reader should look, and a training will refuse them.
            finding["severity"] = "warning"
    return report | {"left_out": rows.left_out}
