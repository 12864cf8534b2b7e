"""Celery entry points: each takes ids and keywords and makes one call."""

from loans.tasks import processes
from loans.tasks.bulk import bulk_score
from loans.tasks.forecasts import forecast
from loans.tasks.fraud import sweep_fraud, train_fraud
from loans.tasks.imports import import_file, undo_import
from loans.tasks.inbox_runs import run_inbox_run
from loans.tasks.monitoring import monitor, watch_queue
from loans.tasks.partitions import keep_partitions
from loans.tasks.promotion import check_promotions
from loans.tasks.scoring import score_pending
from loans.tasks.segments import follow_segments
from loans.tasks.training import train

__all__ = [
    "bulk_score",
    "check_promotions",
    "follow_segments",
    "forecast",
    "import_file",
    "keep_partitions",
    "monitor",
    "processes",
    "run_inbox_run",
    "score_pending",
    "sweep_fraud",
    "train",
    "train_fraud",
    "undo_import",
    "watch_queue",
]
