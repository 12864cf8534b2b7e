"""What runs by the clock: to be looked at. The schedule itself is in config/settings.py, where it is versioned and reviewed."""

from __future__ import annotations

from django.contrib import admin
from django.utils.translation import gettext_lazy as _
from django_celery_beat import models as beat
from unfold.decorators import display

from loans.admin.base import DeskAdmin, ReadOnly

# Their own pages carry inline scripts, which our content security policy refuses, and let one edit what a restart would set back.
for model in (beat.PeriodicTask, beat.IntervalSchedule, beat.CrontabSchedule, beat.SolarSchedule, beat.ClockedSchedule):
    admin.site.unregister(model)


@admin.register(beat.PeriodicTask)
class PeriodicTaskAdmin(ReadOnly, DeskAdmin):
    list_display = ("name", "task", "schedule_shown", "enabled", "last_run_at", "total_run_count")
    list_select_related = ("interval", "crontab")
    empty_title = _("Nothing runs by the clock yet")
    empty_text = _("The schedule is written here when the scheduler starts for the first time.")

    @display(description=_("When"))
    def schedule_shown(self, obj: beat.PeriodicTask) -> str:
        return str(obj.interval or obj.crontab or "–")
