"""How gunicorn serves the site: `gunicorn --config config/gunicorn.py config.wsgi:application`."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from pathlib import Path

from loans.services import suspects  # before any fork: its memory is shared between the processes

bind = os.environ.get("BIND", f"127.0.0.1:{os.environ.get('PORT', '8000')}")
# Threads, since most requests wait for the database and not for the processor.
worker_class = "gthread"
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
threads = int(os.environ.get("WEB_THREADS", "4"))
# Not preloaded: each worker opens its own connections, and `kill -HUP` loads new code.
preload_app = False
# A worker that hangs is replaced after `timeout`; at a stop, running requests get `graceful_timeout` to end.
timeout = 60
graceful_timeout = 25
keepalive = 5
# Whatever leaks does not leak for ever; the jitter keeps the workers from restarting together.
max_requests = 5000
max_requests_jitter = 500
limit_request_line = 4094
limit_request_fields = 60
limit_request_field_size = 8190
# The heartbeat file on a disk can stall a worker long enough to be killed for it; memory does not.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108
forwarded_allow_ips = os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1")
control_socket_disable = True
# Before any worker imports prometheus_client: its counters are files here, which the workers share.
os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", tempfile.mkdtemp(prefix="loandesk-metrics-"))


def child_exit(server: object, worker: object) -> None:
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(worker.pid)
    if held := suspects.died(worker.age):
        server.log.error("Process %d died while it scored %d applications; sent again, they go to the workers.", worker.pid, held)


def post_fork(server: object, worker: object) -> None:
    suspects.begin(worker.age)


def on_exit(server: object) -> None:
    shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"], ignore_errors=True)


def post_worker_init(worker: object) -> None:
    """Load the serving model beside the first requests, not within one: pandas and scikit-learn take seconds to import."""
    import threading

    def load() -> None:
        try:
            from django.db import connections

            from loans.services import registry

            try:
                registry.champion()
            finally:
                connections.close_all()
        except Exception as error:  # no model yet, or no database: the first request that needs one says so
            import logging

            logging.getLogger(__name__).info("No model loaded at start: %s", type(error).__name__)
        # What is here by now stays: looking through it for garbage is what a batch of a thousand would spend a fifth of its time on.
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 20, 20)

    if "config.wsgi" in str(getattr(worker.cfg, "default_proc_name", "")):
        threading.Thread(target=load, name="load-model", daemon=True).start()


accesslog = "-"
# The path without its query: searches hold people's names.
access_log_format = '%(t)s %(h)s "%(m)s %(U)s" %(s)s %(B)s bytes %(M)s ms'
errorlog = "-"
loglevel = os.environ.get("LOG_LEVEL", "info").lower()
