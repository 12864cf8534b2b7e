from django.apps import AppConfig


class LoansConfig(AppConfig):
    name = "loans"
    verbose_name = "Loans"

    def ready(self) -> None:
        # Celery registers tasks lazily in a plain Django process; a web process must know their names to send them.
        from loans import tasks  # noqa: F401
        from loans.services import logins  # noqa: F401 - listens to Django's login signals
