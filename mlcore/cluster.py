"""Long fits spread over a Dask cluster, through joblib's backend: everything that fits inside `joblib.Parallel` goes to its workers.

Workers need this package and the same versions of numpy, pandas and scikit-learn. The result is the same as on one machine: each job's
seed is its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class ClusterUnavailable(RuntimeError):
    """A cluster was asked for and can't be had; the message says what to install or start."""


@contextmanager
def spread(scheduler: str, *, seconds: float = 10.0) -> Iterator[None]:
    """Within it joblib's jobs run on the Dask cluster at this address ("tcp://host:8786"); with an empty one nothing changes.

    seconds: to wait for its answer. Raises ClusterUnavailable.
    """
    if not scheduler:
        yield
        return
    try:
        from distributed import Client
    except ImportError as error:
        message = f"Training is to be spread over {scheduler}, but Dask is not installed here: pip install distributed"
        raise ClusterUnavailable(message) from error
    import joblib

    try:
        client = Client(scheduler, timeout=seconds, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise ClusterUnavailable(f"No Dask scheduler answers at {scheduler}: start it, or empty TRAINING_SCHEDULER.") from error
    with client, client.as_current(), joblib.parallel_config(backend="dask", n_jobs=-1):
        yield
