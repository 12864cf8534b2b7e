"""Loandesk's composition root: settings, the Celery app, URLs, and how the parts are started together."""

import os

# Read when scikit-learn's OpenMP library loads, so set before anything else. Its threads spin while they wait for each other, which on a
# busy machine takes the processor from the very thread they wait for: a fit of 0.4 s took 34 s on two cores at a load of 12.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from config.celery import app as celery_app

__all__ = ["celery_app"]
