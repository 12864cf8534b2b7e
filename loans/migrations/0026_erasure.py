"""When a person was erased on request."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('loans', '0025_comparison'),
    ]

    operations = [
        migrations.AddField(
            model_name='applicant',
            name='erased_at',
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
    ]
