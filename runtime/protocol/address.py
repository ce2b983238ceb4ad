"""Where servers listen and clients connect: a Unix socket or TCP, beyond the loopback interface only with a token."""

from __future__ import annotations

import copy
import ipaddress
import os
import socket
from pathlib import Path

from runtime.protocol.stop_socket import default_socket, stop_path
from sim2real.errors import ShoalError

_MAX_UNIX_PATH = 100


class Address:
    """Where a server listens: `unix:///path`, a plain path, or `tcp://host:port`, where hosts beyond the loopback
    interface are refused unless `with_token`.
    """

    def __init__(self, text: str, *, with_token: bool = False) -> None:
        self.path: Path | None = None
        self.host, self.port = "", 0
        if text.startswith("tcp://"):
            self.host, self.port = host_and_port(text.removeprefix("tcp://"), "address")
            require_private(self.host, "address", with_token=with_token)
        else:
            self.path = Path(text.removeprefix("unix://")).absolute()
            if len(os.fsencode(self.path)) > _MAX_UNIX_PATH:
                raise ShoalError(f"address: {self.path} is too long for a Unix socket, at most {_MAX_UNIX_PATH} bytes.")

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix://{self.path}"
        return f"tcp://[{self.host}]:{self.port}" if ":" in self.host else f"tcp://{self.host}:{self.port}"

    @property
    def for_stops(self) -> Address:
        """The socket beside a Unix socket where the server's control process listens; see
        `runtime.protocol.stop_socket`.
        """
        assert self.path is not None
        other = copy.copy(self)
        other.path = stop_path(self.path)
        return other

    def connect(self, timeout_s: float) -> socket.socket:
        """A connected stream socket; raises `OSError`."""
        if self.path is None:
            connection = socket.create_connection((self.host, self.port), timeout_s)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(timeout_s)
        try:
            connection.connect(str(self.path))
        except OSError:
            connection.close()
            raise
        return connection


def require_port(port: int, *, option: str) -> None:
    """Raises `ShoalError` unless a server can be told to listen on this port."""
    if not 0 < port < 65536:
        raise ShoalError(f"{option} must be a port between 1 and 65535, got {port}.")


def default_address() -> Address:
    """A Unix socket in the user's private runtime folder, which is created with mode 0700 if need be: in
    `$XDG_RUNTIME_DIR`, or where that is not this user's (in a container, or after su) where temporary files are.
    """
    try:
        path = default_socket()
    except FileNotFoundError as error:
        raise ShoalError(f"address: {error.strerror}; choose a path with --socket.") from error
    folder = path.parent
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        owner = folder.lstat()
    except OSError as error:
        raise ShoalError(f"address: cannot create {folder}: {error.strerror}; choose one with --socket.") from error
    if owner.st_uid != os.getuid() or owner.st_mode & 0o077:
        raise ShoalError(f"address: {folder} is open to other users; remove it, or choose a path with --socket.")
    return Address(str(path))


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens on `host`: `localhost`, or a loopback address."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host.lower() == "localhost"
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def require_private(host: str, option: str, *, with_token: bool) -> None:
    """Raise `ShoalError` where others could reach a server on `host` that asks for no token."""
    if not with_token and not is_loopback(host):
        raise ShoalError(
            f"{option}: {host!r} is not the loopback interface; give --token-file to authenticate clients, or tunnel "
            "(ssh -L) instead of opening the port to a network."
        )


def host_and_port(text: str, option: str, *, any_free: bool = False) -> tuple[str, int]:
    """`HOST:PORT` or `[HOST]:PORT`; port 0, which stands for any that is free, with `any_free`. Raises `ShoalError`."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    # Digits of other scripts are digits, too, to `str.isdigit`.
    number = int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else -1
    if not host or not (0 if any_free else 1) <= number < 65536:
        raise ShoalError(f"{option}: {text!r} is not HOST:PORT.")
    return host, number
