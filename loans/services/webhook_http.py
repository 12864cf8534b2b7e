"""One POST to an address that somebody typed in: to the internet, not to what stands beside us.

The name is resolved once, every address that it has is checked, and the connection goes to the address that was checked: a name that
answers otherwise the second time (DNS rebinding) gains nothing. A redirect is an answer like any other; nothing follows it. No proxy
of the environment's is used, and nothing of the answer but its status is read.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import threading
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class Refused(Exception):
    """We don't send there; the message says why."""


class Unreachable(Exception):
    """No answer; the message names the kind of failure."""


def check_url(url: str, allowed: Sequence[str]) -> None:
    """Raises Refused for what can be told without asking anybody: the scheme, a login in the address, a bare private address."""
    parts, _ = _parts(url)
    if parts.username is not None or parts.password is not None:
        raise Refused("An address must not hold a user name or password: it is shown and kept.")
    try:
        literal = ipaddress.ip_address(parts.hostname or "")
    except ValueError:
        if parts.scheme == "http" and not allowed:
            raise Refused("Only https:// addresses are told.") from None
    else:
        _check_address(literal, parts.scheme, allowed)


def post(url: str, body: bytes, headers: Mapping[str, str], *, allowed: Sequence[str] = (), seconds: float = 10.0) -> int:
    """The answer's status. allowed: networks that may be reached though they are private. Raises Refused or Unreachable."""
    check_url(url, allowed)
    parts, port = _parts(url)
    host = parts.hostname or ""
    address = _resolve(host, port, parts.scheme, allowed)
    connection = _Pinned(host, port, address, tls=parts.scheme == "https", seconds=seconds)
    # A server that sends a byte now and then would reset a socket's own time-out for ever.
    limit = threading.Timer(seconds, connection.abort)
    limit.daemon = True
    limit.start()
    try:
        connection.request("POST", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), body, dict(headers))
        status = connection.getresponse().status
        if connection.aborted:  # its headers never ended
            raise TimeoutError
        return status
    except ssl.SSLCertVerificationError as error:
        raise Unreachable("Its certificate is not valid.") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Unreachable(f"No answer within {seconds:g} s." if isinstance(error, TimeoutError) else type(error).__name__) from error
    finally:
        limit.cancel()
        connection.close()


def _parts(url: str) -> tuple:
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise Refused("This is not an address.") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Refused("An address begins with https:// and a host.")
    return parts, port


def _resolve(host: str, port: int, scheme: str, allowed: Sequence[str]) -> str:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unreachable("Its name is not known.") from error
    addresses = list(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found))
    for address in addresses:
        _check_address(ipaddress.ip_address(address), scheme, allowed)
    return addresses[0]


def _check_address(address: Address, scheme: str, allowed: Sequence[str]) -> None:
    if any(address in ipaddress.ip_network(network) for network in allowed):
        return
    if scheme != "https":
        raise Refused("Only https:// addresses are told.")
    for inner in (address, _embedded(address)):
        if inner is not None and (not inner.is_global or inner.is_multicast):
            raise Refused(f"{address} is not a public address; WEBHOOK_ALLOWED_NETWORKS can allow a network of yours.")


def _embedded(address: Address) -> Address | None:
    """The IPv4 address that an IPv6 one leads to, where it does."""
    if address.version == 4:
        return None
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)


class _Pinned(http.client.HTTPConnection):
    """Speaks to `address`, whatever the name says by now; the certificate must be the name's."""

    def __init__(self, host: str, port: int, address: str, *, tls: bool, seconds: float) -> None:
        super().__init__(host, port, timeout=seconds)
        self._address, self._tls = address, tls
        self.default_port = 443 if tls else 80
        self.aborted = False

    def connect(self) -> None:
        self.sock = socket.create_connection((self._address, self.port), self.timeout)
        if self._tls:
            self.sock = ssl.create_default_context().wrap_socket(self.sock, server_hostname=self.host)

    def abort(self) -> None:
        self.aborted, sock = True, self.sock
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
