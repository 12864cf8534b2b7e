"""Celery entry points: each takes ids and keywords and makes one call."""

from loans.tasks import processes
from loans.tasks.forecasts import forecast
from loans.tasks.fraud import sweep_fraud, train_fraud
from loans.tasks.scoring import score_pending
from loans.tasks.training import train

__all__ = ["forecast", "processes", "score_pending", "sweep_fraud", "train", "train_fraud"]
