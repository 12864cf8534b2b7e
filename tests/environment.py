"""Loaded by pytest before anything else (`-p tests.environment`): gives the run its servers, before settings are read.

Servers of its own, beside the desk's: a test's message must not reach the workers of a desk that runs at the same time.
"""

from config.embedded import ensure_environment, home

ensure_environment(home() / "tests", durable=False)
