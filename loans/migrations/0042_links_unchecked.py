"""Links go with their application by a trigger: a foreign key asked seven times an application whether it is there, a sixth of the price of storing it."""

import django.db.models.deletion
from django.db import migrations, models

GO_WITH_IT = """
CREATE FUNCTION loandesk_links_go() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM loans_applicationlink link USING gone WHERE link.application_id = gone.id;
    RETURN NULL;
END $$;
CREATE TRIGGER application_links_go AFTER DELETE ON loans_loanapplication
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION loandesk_links_go();
"""
STAY = "DROP TRIGGER application_links_go ON loans_loanapplication; DROP FUNCTION loandesk_links_go;"


class Migration(migrations.Migration):
    dependencies = [("loans", "0041_importundo")]

    operations = [
        migrations.AlterField(
            model_name="applicationlink",
            name="application",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="loans.loanapplication",
            ),
        ),
        migrations.RunSQL(GO_WITH_IT, STAY),
    ]
