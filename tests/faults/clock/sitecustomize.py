"""Python reads this before anything else where this folder is on PYTHONPATH: a process whose clock is FAULTS_CLOCK_AHEAD seconds ahead.

`time.time` here, before anybody has taken it by name; Django's and Celery's `now` in `tests.faults.hooks`. Monotonic clocks stay, as they
do on a machine whose clock is wrong. `datetime.datetime` itself can't be replaced: compiled libraries crash over it.
"""

import os
import time

_ahead = float(os.environ.get("FAULTS_CLOCK_AHEAD", "0"))
if _ahead:
    _time, _time_ns = time.time, time.time_ns
    time.time = lambda: _time() + _ahead
    time.time_ns = lambda: _time_ns() + int(_ahead * 1e9)
