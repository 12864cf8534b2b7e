"""Whether one process of the desk is well, for a container's health check: `python -m config.health ROLE`.

Light on purpose (no Django): it runs every half minute in every container. The site is asked over HTTP, the others by the heartbeat that
they write to the database. Exit code 0 is well; otherwise one line says what is not.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import sys
import urllib.error
import urllib.request

ROLES = ("worker", "training-worker", "beat", "sweeper")
BEATS_MISSED = 6


def site() -> str | None:
    """Asks under a name that ALLOWED_HOSTS knows: by its address alone Django would turn us away."""
    name = os.environ.get("ALLOWED_HOSTS", "localhost").split(",")[0].strip().lstrip(".")
    connection = http.client.HTTPConnection("127.0.0.1", int(os.environ.get("PORT", "8000")), timeout=5)
    connection.request("GET", "/healthz", headers={"Host": "localhost" if name in ("", "*") else name})
    status = connection.getresponse().status
    return None if status == 200 else f"/healthz answered {status}"


def heartbeat(role: str) -> str | None:
    import psycopg

    url = os.environ["DATABASE_URL"]
    seconds = float(os.environ.get("HEARTBEAT_SECONDS", "5")) * BEATS_MISSED
    with psycopg.connect("postgresql://" + url.partition("://")[2], connect_timeout=5) as connection:
        row = connection.execute(
            "SELECT extract(epoch FROM clock_timestamp() - max(at)) FROM loans_heartbeat WHERE role = %s AND starts_with(process, %s)",
            [role, f"{socket.gethostname()}:"],
        ).fetchone()
    silent = row[0] if row else None
    if silent is None:
        return f"no {role} on this host has ever written a heartbeat"
    return None if silent <= seconds else f"the last heartbeat of {role} is {silent:.0f} s old"


def ask_ready(port: int) -> list[str]:
    """The names of what /readyz finds missing; `site` where it does not answer."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy of the machine's does not know us
    try:
        with opener.open(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            body = answer.read()
    except urllib.error.HTTPError as error:
        body = error.read()
    except OSError:
        return ["site"]
    try:
        return list(json.loads(body)["degraded"])
    except (ValueError, KeyError, TypeError):
        return ["site"]


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or arguments[0] not in ("web", *ROLES):
        print(f"usage: python -m config.health web|{'|'.join(ROLES)}", file=sys.stderr)
        return 2
    try:
        problem = site() if arguments[0] == "web" else heartbeat(arguments[0])
    except Exception as error:  # whatever it is, the process is not well
        problem = f"{type(error).__name__}: {error}"
    if problem:
        print(problem, file=sys.stderr)
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
