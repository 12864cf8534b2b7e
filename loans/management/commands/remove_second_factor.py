"""For somebody whose phone is lost."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError

from loans.services import second_factor


class Command(BaseCommand):
    help = "Take a person's second factor away, once you know that it is the person who asks. The next login sets up a new one."

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("username")

    def handle(self, *args: Any, username: str, **options: Any) -> None:
        user = get_user_model().objects.filter(username=username).first()
        if user is None:
            raise CommandError(f"There is no user {username!r}.", returncode=2)
        if not second_factor.remove(user, by=None):
            raise CommandError(f"{username} has no second factor.", returncode=1)
        self.stdout.write(f"The second factor of {username} is gone.")
