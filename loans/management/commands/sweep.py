"""The sweeper process: keeps the promise of every pending job when messages get lost."""

from __future__ import annotations

import signal
import threading
from typing import Any

from django.core.management.base import BaseCommand

from loans.services import heartbeats, sweeping, webhooks


class Command(BaseCommand):
    help = "Look for due scoring jobs and orphaned trainings, and send for them again; deliver webhooks. Runs until SIGTERM or Ctrl-C."

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--once", action="store_true", help="One look, then end.")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["once"]:
            due = sweeping.Sweeper().sweep_once()
            self.stdout.write(f"{due} scoring jobs were due.")
            return
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        self.stdout.write("Sweeping. Ctrl-C ends it.")
        courier = webhooks.keep_delivering(stop)
        sweeping.run(stop)
        courier.join(timeout=webhooks.SECONDS + 5)  # what is on its way gets its answer noted
        heartbeats.leave()
