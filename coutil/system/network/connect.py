"""Connect to a host by its name: its addresses are tried as RFC 8305 (Happy Eyeballs) says.

Both families are looked up at once. IPv6 goes first if its answer comes first, or soon after; then the families take
turns. An attempt that has not succeeded within a quarter of a second goes on while the next one begins; one that fails
lets the next one begin at once. The first connection wins, all others are closed.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import Any, get_args

from ... import event
from ..._libuv.names import checked_host, checked_service
from ...errors import UVError
from ...scopes import Scope, move_on_after, scope
from ...scopes.block import raise_again
from ...scopes.deadline import limit
from ..time import time
from .address import Address, Domain, address
from .names import findaddr
from .stream import StreamSocket

__all__ = ["connect"]

RESOLUTION_DELAY = 0.05  # seconds that IPv4 addresses wait for IPv6 ones
ATTEMPT_DELAY = 0.25  # seconds before the next attempt begins beside one that has not failed
PRECISION = 1e-6  # seconds
_OTHER: dict[Domain, Domain] = {"ipv4": "ipv6", "ipv6": "ipv4"}


def connect(host: str | bytes, service: str | int, *, timeout: float | None = None) -> StreamSocket:
    """Return a stream that is connected to a service of a host.

    host: name or literal address. service: its name, or a port (0 to 65535). timeout: in seconds, for the look-up and
    all attempts together; None: none but the system's.
    Returns the stream, or what an explicit resume brings; then nothing is left of the attempts. Suspends.
    Raises TypeError, ValueError (see `findaddr`; host "*"), `NotYieldable`, `Timeout`, or `UVError`: EAI_NONAME, … if
    there is no address; else what the first attempt failed with (ECONNREFUSED, …), with the others as notes.
    Source: RFC 8305.
    """
    if host in ("*", b"*"):
        raise ValueError('host "*" is every address of this machine: bind to it, but connect to one')
    race = _Race(checked_host(host).decode(), checked_service(service).decode())
    try:
        with limit(timeout):
            woken = race.hold()
    except BaseException:
        race.give_up()
        raise
    if woken is not race:
        race.give_up()
        return woken  # type: ignore[no-any-return]  # what an explicit resume brought
    return race.winner  # type: ignore[no-any-return]  # there is one


class _Race:
    """The attempts of one call. The caller decides what to do next each time that something has happened.

    Look-ups and attempts are children of a scope of the caller: they write down here what came out, and emit the race.
    """

    def __init__(self, host: str, service: str) -> None:
        """What to connect to."""
        self.host, self.service = host, service
        self.looking: set[Domain] = set()  # families whose addresses are looked up still
        self.left: dict[Domain, deque[Address]] = {domain: deque() for domain in get_args(Domain)}  # not tried yet
        self.trying = 0  # attempts that go on
        self.latest: Address | None = None  # whose attempt began last
        self.not_before = 0.0  # when the next one may begin
        self.winner: StreamSocket | None = None
        self.unknown: dict[Domain, UVError] = {}  # what look-ups failed with
        self.failures: list[UVError] = []  # what attempts failed with

    def __repr__(self) -> str:
        """What the caller waits for, in reports."""
        return f"<connection to {self.host} {self.service}>"

    def hold(self) -> Any:
        """Return or raise as `run`, when no attempt is left. For callers, there is no scope, and no group of errors."""
        woken: Any = None
        failure: BaseException | None = None
        try:
            with scope() as children:
                try:
                    woken = self.run(children)
                except BaseException as error:  # noqa: BLE001  # raised after the attempts
                    failure = error
                children.cancel()
        except ExceptionGroup as thrown:  # into the caller, while the attempts ended
            failure = thrown.exceptions[0] if len(thrown.exceptions) == 1 else thrown
        if failure is not None:
            try:
                raise_again(failure)
            finally:
                del failure  # the traceback refers to this frame
        return woken

    def run(self, children: Scope) -> Any:
        """Return the race when there is a winner, or what an explicit resume brings. Raises `UVError` if all failed."""
        self._look_up(children)
        while self.winner is None:
            delay = self.delay(time("updated"))
            if delay < PRECISION:
                self._try_next(children)
            elif delay == inf and not self.looking and not self.trying:
                raise self._failed()
            elif (woken := self._news(delay)) is not self:
                return woken
        return self

    def give_up(self) -> None:
        """Close the stream that nobody will get."""
        if self.winner is not None:
            self.winner.close()

    def delay(self, now: float) -> float:
        """Return after how many seconds the next attempt is to begin: inf if there is no address for it."""
        return max(self.not_before - now, 0.0) if any(self.left.values()) else inf

    def _news(self, seconds: float) -> Any:
        """Wait until something has happened, at most `seconds`; return the race, or what an explicit resume brings."""
        with move_on_after(seconds):
            return event.await_(self)
        return self  # the time is up

    def _look_up(self, children: Scope) -> None:
        known = _literal(self.host, self.service)
        if known is not None:
            self.left[known.type].append(known)
            return
        self.looking.update(self.left)
        for domain in ("ipv6", "ipv4"):
            children.spawn(self._find, domain, name=f"find {domain} {self.host}")

    def _find(self, domain: Domain) -> None:
        try:
            found = findaddr(self.host, self.service, ipv4=domain == "ipv4", ipv6=domain == "ipv6", stream=True)
            self.left[domain].extend(address for address, _ in found)
        except UVError as error:
            self.unknown[domain] = error.with_traceback(None)  # which refers to us
        self.looking.discard(domain)
        if self.latest is None:
            self.not_before = time("updated") + RESOLUTION_DELAY if "ipv6" in self.looking else 0.0
        event.emitall(self)

    def _try_next(self, children: Scope) -> None:
        """Begin an attempt, with the other family than the last if that has an address left."""
        domain: Domain = "ipv6" if self.latest is None else _OTHER[self.latest.type]
        left = self.left[domain] or self.left[_OTHER[domain]]
        self.latest = found = left.popleft()
        self.not_before = time("updated") + ATTEMPT_DELAY
        self.trying += 1
        children.spawn(self._attempt, found, name=f"connect {found}")

    def _attempt(self, to: Address) -> None:
        try:
            stream = _connected(to)
        except UVError as error:
            error.filename = str(to)  # what its text ends with
            self.failures.append(error.with_traceback(None))
            if self.latest is to:
                self.not_before = 0.0
        else:
            if self.winner is None:
                self.winner = stream
            else:
                stream.close()
        self.trying -= 1
        event.emitall(self)

    def _failed(self) -> UVError:
        """Return what to raise when all is over."""
        if not self.failures:
            literal = self.unknown["ipv4"].name == "EAI_ADDRFAMILY"  # of IPv6, in an unknown zone
            return self.unknown["ipv6" if literal else "ipv4"]
        first, *others = self.failures
        for other in others:
            first.add_note(f"also tried: {other}")
        self.failures.clear()
        return first


def _connected(to: Address) -> StreamSocket:
    stream = StreamSocket(to.type)
    try:
        stream.connect(to)
    except BaseException:
        stream.close()
        raise
    return stream


def _literal(host: str, service: str) -> Address | None:
    """Return the address if nothing has to be looked up; then a busy thread pool is no obstacle."""
    if not service.isdigit():
        return None
    for domain in get_args(Domain):
        try:
            return address(domain, host, int(service))
        except UVError:
            continue
    return None
