"""Logins for trying the desk out."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand

from loans.services import demo_users


class Command(BaseCommand):
    help = "Make the demo logins that are missing, one for each role, and show them. Only where DEBUG is on."

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--force", action="store_true", help="Also where DEBUG is off; then with random passwords.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            access = demo_users.ensure_demo_users(force=options["force"])
        except demo_users.NotForProduction as error:
            self.stderr.write(self.style.ERROR(str(error)))
            sys.exit(2)
        self.stdout.write(f"{'login':<14}{'password':<22}who")
        for login in access.logins:
            self.stdout.write(f"{login.username:<14}{login.password or '(changed)':<22}{login.role}: {login.may}")
        if access.api_key is None:
            self.stdout.write("API key of the client: shown when it was made, and nobody can read it again; revoke it to get another.")
        else:
            self.stdout.write(f"API key of the client (submits applications, reads its own): {access.api_key}")
