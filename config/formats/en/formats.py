"""Numbers as NUMBER_FORMATS has them, days as DAY_FORMAT says: an English desk in a place that writes 1.234,56."""

from importlib import import_module

from django.conf import settings

_numbers = import_module(f"django.conf.locale.{settings.NUMBER_FORMATS}.formats")
DECIMAL_SEPARATOR = _numbers.DECIMAL_SEPARATOR
THOUSAND_SEPARATOR = _numbers.THOUSAND_SEPARATOR
NUMBER_GROUPING = getattr(_numbers, "NUMBER_GROUPING", 3)
DATE_FORMAT = SHORT_DATE_FORMAT = settings.DAY_FORMAT
DATETIME_FORMAT = SHORT_DATETIME_FORMAT = settings.MOMENT_FORMAT
