"""The desk's settings, with `tests.faults.hooks` on top: what a fault does inside a process, told by FAULTS_… variables."""

from config.settings import *  # noqa: F403
from config.settings import INSTALLED_APPS as _APPS

INSTALLED_APPS = [*_APPS, "tests.faults.hooks.Hooks"]
