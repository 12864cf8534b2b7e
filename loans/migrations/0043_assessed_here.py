"""A batch that is assessed as it is stored writes its assessments itself: a row that waits would be written only to be thrown away."""

from importlib import import_module

from django.db import migrations

guards = import_module("loans.migrations.0007_fraud_guards")

FUNCTION = guards.OUTBOX[: guards.OUTBOX.index("CREATE TRIGGER")].replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")
SAYS_SO = "BEGIN\n    IF current_setting('loandesk.assessed_here', true) = 'on' THEN RETURN NULL; END IF;"


class Migration(migrations.Migration):
    dependencies = [("loans", "0042_links_unchecked")]

    operations = [migrations.RunSQL(FUNCTION.replace("BEGIN", SAYS_SO, 1), FUNCTION)]
