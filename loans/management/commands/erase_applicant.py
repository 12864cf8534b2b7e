"""Erase a person on request."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from loans.models import LoanApplication
from loans.services import erasure


class Command(BaseCommand):
    help = "Erase for good who applied: name, contacts, identifiers, protected characteristics. Figures, scores and decisions stay."

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("application", help="the application's number, as in its address; or its reference")
        parser.add_argument("--case", default="", help="your number of the request, kept in the audit trail; no name")
        parser.add_argument("--yes", action="store_true", help="do not ask: it can't be undone")

    def handle(self, *args: Any, application: str, case: str, yes: bool, **options: Any) -> None:
        found = list(LoanApplication.objects.filter(external_reference=application)[:2])
        if not found and application.isdecimal():
            found = list(LoanApplication.objects.filter(pk=int(application[:18])))
        if len(found) != 1:
            problem = "Several applications have the reference" if found else "There is no application"
            raise CommandError(f"{problem} {application!r}; give its number, as in its address in the admin.", returncode=2)
        if not yes and input(f"Erase the person of application {found[0].pk} for good? [y/N] ").strip().lower() != "y":
            raise CommandError("Nothing was erased.", returncode=1)
        try:
            erasure.erase(found[0].pk, by=None, case=case)
        except erasure.NotErasable as refusal:
            raise CommandError(str(refusal), returncode=1) from refusal
        self.stdout.write(f"The person of application {found[0].pk} is erased.")
