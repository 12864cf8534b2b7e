"""Fill an empty database with made-up applications."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand

from loans.management.progress import terminal_progress
from loans.services import demo

MOST = 5_000_000


class Command(BaseCommand):
    help = "Fill an empty database with synthetic applications: a history with outcomes, and an inbox. Changes nothing where there are any."

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--applications", type=int, default=demo.APPLICATIONS, metavar="N", help="How many in all (%(default)s).")
        waiting = "How many of the latest wait for a decision (%(default)s)."
        parser.add_argument("--undecided", type=int, default=demo.UNDECIDED, metavar="N", help=waiting)
        parser.add_argument("--seed", type=int, default=demo.SEED, help="Another seed makes another lender (%(default)s).")

    def handle(self, *args: Any, **options: Any) -> None:
        count, undecided, seed = options["applications"], options["undecided"], options["seed"]
        if not 1 <= count <= MOST:
            self._fail(f"--applications must be between 1 and {MOST:,}, not {count:,}.")
        if undecided < 0 or seed < 0:
            self._fail("--undecided and --seed can't be negative.")
        try:
            with terminal_progress("Synthetic data") as progress:
                done = demo.seed(count, seed=seed, undecided=undecided, progress=progress)
        except demo.NotEmpty as error:
            self.stdout.write(str(error))
            return
        except KeyboardInterrupt:
            self._fail("Cancelled; nothing was kept.")
        self.stdout.write(
            f"{done.applications:,} synthetic applications from {done.first} to {done.last} in {done.seconds:.1f} s: {done.undecided:,} "
            f"wait for their score; of the others {done.repaid:,} repaid, {done.defaulted:,} defaulted, {done.immature:,} are too young."
        )

    def _fail(self, message: str) -> None:
        self.stderr.write(self.style.ERROR(message))
        sys.exit(2)
