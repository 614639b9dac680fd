"""Names of hosts and services: from names to addresses, and back. The thread pool looks them up."""

from __future__ import annotations

import stringprep
from collections.abc import Iterator, Sequence
from functools import partial
from socket import (
    AF_INET,
    AF_INET6,
    AI_ADDRCONFIG,
    AI_ALL,
    AI_CANONNAME,
    AI_NUMERICHOST,
    AI_NUMERICSERV,
    AI_PASSIVE,
    AI_V4MAPPED,
    NI_DGRAM,
    NI_NAMEREQD,
    NI_NOFQDN,
    NI_NUMERICHOST,
    SOCK_DGRAM,
    SOCK_STREAM,
)
from typing import Literal, NamedTuple, overload

from ..._closeable import Closeable
from ..._coroutines import waits
from ..._kernel import current_operation
from ..._libuv import error as _error
from ..._libuv import lib
from ..._libuv.arguments import check_bool, check_int
from ..._libuv.names import GetAddrInfo, GetNameInfo, check_host, check_service
from ..._libuv.sockaddr import IPAddress
from ...errors import Closed, UVError
from .address import Address, Domain

__all__ = ["Addresses", "FoundAddress", "findaddr", "nameaddr"]

SockType = Literal["stream", "passive", "datagram"]


class FoundAddress(NamedTuple):
    """An address that `findaddr` has found. socktype: "stream" ("passive" for name "*") or "datagram"."""

    address: Address
    socktype: SockType


class Addresses(Closeable, Sequence[FoundAddress]):
    """The result of `findaddr`, in the order of preference: a sequence of `FoundAddress`.

    It also has a pointer, which begins at the first address, and which the sequence does not use. After `close` every
    use raises `Closed`.
    """

    __slots__ = ("__weakref__", "_entries", "_index", "_passive")

    def __init__(self, entries: list[tuple[bool, IPAddress]], passive: bool) -> None:
        """Take at least one entry: whether it is for streams, and the address. passive: they are for listening."""
        self._entries: list[tuple[bool, IPAddress]] | None = entries
        self._passive = passive
        self._index = 0

    def next(self) -> bool:
        """Move the pointer on; return False, and leave it, if it is at the last address. Raises `Closed`."""
        if self._index + 1 >= len(self._open()):
            return False
        self._index += 1
        return True

    def reset(self) -> bool:
        """Move the pointer to the first address; return True. Raises `Closed`."""
        self._open()
        self._index = 0
        return True

    def getaddress(self, into: Address | None = None) -> Address:
        """Return the address at the pointer; written into `into` if that is given.

        Raises TypeError, ValueError (`into` has the other family), `Closed`.
        """
        plain = self._open()[self._index][1]
        address = Address(_domain(plain), *plain)
        if into is None:
            return address
        if not isinstance(into, Address):
            raise TypeError(f"into must be an Address, not {into!r}")
        if into.type != address.type:
            raise ValueError(f"into has the wrong domain: {into!r} for an address of {address.type}")
        into.binary, into.port, into.scope = plain
        return into

    def getdomain(self) -> Domain:
        """Return "ipv4" or "ipv6", of the address at the pointer. Raises `Closed`."""
        return _domain(self._open()[self._index][1])

    def getsocktype(self) -> SockType:
        """Return the use of the address at the pointer: "stream" ("passive" for name "*") or "datagram".

        Raises `Closed`.
        """
        return self._socktype(self._open()[self._index][0])

    def _socktype(self, stream: bool) -> SockType:
        return "datagram" if not stream else "passive" if self._passive else "stream"

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._entries is None

    def close(self) -> bool:
        """Forget the addresses; return True. Closing twice is no error."""
        self._entries = None
        return True

    def _open(self) -> list[tuple[bool, IPAddress]]:
        if self._entries is None:
            raise Closed("the addresses are closed")
        return self._entries

    def _found(self, entry: tuple[bool, IPAddress]) -> FoundAddress:
        stream, plain = entry
        return FoundAddress(Address(_domain(plain), *plain), self._socktype(stream))

    @overload
    def __getitem__(self, index: int) -> FoundAddress: ...
    @overload
    def __getitem__(self, index: slice) -> list[FoundAddress]: ...
    def __getitem__(self, index: int | slice) -> FoundAddress | list[FoundAddress]:
        """Return one, counted from 0, or a list of several; the addresses are new objects. Raises IndexError."""
        entries = self._open()
        if isinstance(index, slice):
            return [self._found(entry) for entry in entries[index]]
        return self._found(entries[index])

    def __iter__(self) -> Iterator[FoundAddress]:
        """Yield all of them, wherever the pointer is."""
        return map(self._found, self._open())

    def __len__(self) -> int:
        """Return the number of addresses."""
        return len(self._open())

    def __repr__(self) -> str:
        """The number of addresses, and the one at the pointer."""
        if self._entries is None:
            return "<Addresses closed>"
        return f"<Addresses {self._index + 1} of {len(self._entries)}: {self.getsocktype()} {self.getaddress()}>"


def _domain(plain: IPAddress) -> Domain:
    return "ipv6" if len(plain.binary) == 16 else "ipv4"


@waits
def findaddr(
    name: str | bytes | None = None,
    service: str | int | None = None,
    *,
    ipv4: bool = False,
    ipv6: bool = False,
    mapped: bool = False,
    datagram: bool = False,
    stream: bool = False,
    numeric: bool = False,
) -> Addresses:
    """Look up the addresses of a host and service.

    name: the name of the host, or a literal address; None: this machine (loopback); "*": any address, to listen on.
    Names in other alphabets are encoded as IDNA. service: its name, or a port (0 to 65535, also as text); None: port 0.
    ipv4, ipv6: the families to return; both: all; neither: those for which this machine has an address. mapped: return
    IPv6 addresses only, with IPv4 addresses mapped into them ("::ffff:1.2.3.4"): always if `ipv4` and `ipv6` are set,
    otherwise only if there are no IPv6 addresses. datagram, stream: the use; neither: both. numeric: accept only
    literal addresses, without a look-up.
    Returns `Addresses`, or the value of an explicit resume. Suspends.
    Raises TypeError, ValueError (a name or service that is empty, has a NUL, is too long, or cannot be encoded; neither
    name nor service; "*" without service; `mapped` with `ipv4` only), `NotYieldable`, or `UVError`: EAI_NONAME,
    EAI_AGAIN, EAI_SERVICE, …, which are also `socket.gaierror`; EAFNOSUPPORT. Source: uv_getaddrinfo.
    """
    flags = _flags((mapped, "mapped", AI_V4MAPPED), (numeric, "numeric", AI_NUMERICHOST))
    _flags((ipv4, "ipv4", 0), (ipv6, "ipv6", 0), (datagram, "datagram", 0), (stream, "stream", 0))
    host, port = _check_names(name, service)
    if mapped and ipv4 and not ipv6:
        raise ValueError("mapped makes IPv6 addresses: it does not go with ipv4 only")
    if mapped and ipv4:
        flags |= AI_ALL
    if not (ipv4 or ipv6 or mapped):
        flags |= AI_ADDRCONFIG
    passive = name in ("*", b"*")
    if passive:
        flags |= AI_PASSIVE
    family = AF_INET6 if mapped or (ipv6 and not ipv4) else AF_INET if ipv4 and not ipv6 else 0
    kind = 0 if stream is datagram else SOCK_STREAM if stream else SOCK_DGRAM
    return Addresses(_find(host, port, family, kind, flags)[0], passive)


def _check_names(name: object, service: object) -> tuple[bytes | None, bytes | None]:
    """Return host and service for C. Raises TypeError, ValueError."""
    host = None if name is None or name in ("*", b"*") else check_host(name)
    port = None if service is None else check_service(service)
    if port is None and host is None:
        raise ValueError("name and service are both missing" if name is None else 'name "*" needs a service')
    return host, port


def _flags(*given: tuple[object, str, int]) -> int:
    """Return the bits of the values that are True. Raises TypeError for one that is not a bool."""
    check_bool(**{name: value for value, name, _ in given})
    return sum(bit for value, _, bit in given if value)


# -- names from addresses ---------------------------------------------------------------------------------------------


@overload
def nameaddr(
    what: Address,
    *,
    local: bool = False,
    datagram: bool = False,
    idn: bool = False,
    unassigned: bool = False,
    std3: bool = False,
) -> tuple[str, str]: ...
@overload
def nameaddr(
    what: int | str | bytes,
    *,
    local: bool = False,
    datagram: bool = False,
    idn: bool = False,
    unassigned: bool = False,
    std3: bool = False,
) -> str: ...


@waits
def nameaddr(
    what: Address | int | str | bytes,
    *,
    local: bool = False,
    datagram: bool = False,
    idn: bool = False,
    unassigned: bool = False,
    std3: bool = False,
) -> tuple[str, str] | str:
    """Look up the names of an address, a port or a host.

    what: for an `Address` return the names of its host and its service; for a port (int, 0 to 65535) the name of the
    service, or the number as text; for the name of a host its canonical name.
    local: for a host of the local domain, return only the name within it. datagram: return the name of the service for
    datagrams, not the one for streams.
    idn: decode names in other alphabets; a name with code points that IDNA leaves unassigned only if `unassigned`, a
    name with ASCII characters other than letters, digits and inner hyphens only if not `std3`.
    Returns names, or the value of an explicit resume. Suspends.
    Raises TypeError, ValueError (see `findaddr`), `NotYieldable`, or `UVError`: EAI_NONAME (the address has no name),
    …, which are also `socket.gaierror`. Source: uv_getnameinfo, uv_getaddrinfo.
    """
    options = ((unassigned, "unassigned", 0), (std3, "std3", 0), (idn, "idn", 0))
    chosen = _flags((local, "local", NI_NOFQDN), (datagram, "datagram", NI_DGRAM), *options)

    def decoded(name: str) -> str:
        return _from_idna(name, unassigned, std3) if idn else name

    if isinstance(what, Address):
        plain = IPAddress(what.binary, what.port, what.scope)
        host, service = _name(plain, chosen | NI_NAMEREQD)
        return decoded(host), service
    if isinstance(what, int) and not isinstance(what, bool):
        return _name(IPAddress(bytes(4), check_int("a port", what, 0, 65535), 0), chosen | NI_NUMERICHOST)[1]
    if isinstance(what, bool) or not isinstance(what, str | bytes):
        raise TypeError(f"what must be an Address, a port (int) or a name (str, bytes), not {what!r}")
    return decoded(_find(check_host(what), None, 0, SOCK_STREAM, AI_CANONNAME)[1])


def _from_idna(name: str, unassigned: bool, std3: bool) -> str:
    """Decode the encoded labels of a host name, if the options allow it."""
    return ".".join(_label_from_idna(label, unassigned, std3) for label in name.split("."))


def _label_from_idna(label: str, unassigned: bool, std3: bool) -> str:
    if label[:4].lower() != "xn--" or not label.isascii():
        return label
    try:
        text = label.lower().encode().decode("idna")
    except UnicodeError:
        return label
    odd = [char for char in text if char.isascii() and not (char.isalnum() or char == "-")]
    if std3 and (odd or text.startswith("-") or text.endswith("-")):
        return label
    if not unassigned and any(map(stringprep.in_table_a1, text)):
        return label
    return text


# -- requests ---------------------------------------------------------------------------------------------------------


def _find(
    host: bytes | None, port: bytes | None, family: int = 0, kind: int = 0, flags: int = 0
) -> tuple[list[tuple[bool, IPAddress]], str]:
    """Return the addresses and the canonical name."""
    lookup = GetAddrInfo(
        host, port, family, kind, 0, flags | (AI_NUMERICSERV if port is not None and port.isdigit() else 0)
    )
    try:
        _request(lookup)
    except UVError as error:
        unknown = port if host is None or error.name == "EAI_SERVICE" else host
        error.filename = unknown.decode() if unknown is not None else None  # the end of its text
        raise
    found, canonical = lookup.addresses()
    known = (entry for entry in found if entry.socktype in (SOCK_STREAM, SOCK_DGRAM))
    entries = [(entry.socktype == SOCK_STREAM, entry.plain()) for entry in known]
    if not entries:
        raise _error(lib.UV_EAFNOSUPPORT, "uv_getaddrinfo", host.decode() if host is not None else None)
    return entries, canonical


def _name(plain: IPAddress, flags: int) -> tuple[str, str]:
    """Return the names of the host and the service."""
    naming = GetNameInfo(plain, flags)
    _request(naming)
    return naming.names()


def _request(call: GetAddrInfo | GetNameInfo) -> None:
    current = current_operation()
    current.request(partial(call.start, current.hub.loop.pointer), str(call), call.syscall, call)
