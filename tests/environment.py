"""Loaded by pytest before anything else (`-p tests.environment`): gives the run its servers, before settings are read.

Servers of its own, beside the desk's: a test's message must not reach the workers of a desk that runs at the same time.
"""

import os
from pathlib import Path

from config.embedded import ensure_environment, home

# A vacuum that comes by while a test's rows are not committed notes an empty table of many pages; every later plan of that database then
# expects a single row, and a statement of milliseconds takes minutes.
ensure_environment(home() / "tests", durable=False, postgres={"autovacuum": "off"})
# Tests collect no static files, and whitenoise warns once a test client where their folder is missing.
Path(os.environ.get("STATIC_ROOT") or Path(__file__).parents[1] / "build" / "static").mkdir(parents=True, exist_ok=True)
