#!/usr/bin/env python
"""Django's command line, with real servers started from wheels where DATABASE_URL or REDIS_URL is unset."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    from config.embedded import ensure_environment

    ensure_environment()
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
    except KeyboardInterrupt:
        sys.exit(130)  # what a shell expects of an interrupted command; a traceback tells a user nothing


if __name__ == "__main__":
    main()
