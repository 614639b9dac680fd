"""Connect to a host by its name. The addresses are tried in the order of RFC 8305 (Happy Eyeballs).

Both families are looked up at once. IPv6 is tried first if its answer comes first, or soon after; then the families
alternate. If an attempt has not succeeded after a quarter of a second it goes on while the next one begins; if it
fails the next one begins at once. The first connection wins, all others are closed.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import Any, get_args

from ... import event
from ..._libuv.names import check_host, check_service
from ...errors import UVError
from ...scopes import Scope, move_on_after, scope
from ...scopes.cancel_scope import reraise
from ...scopes.deadline import call_timeout
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
    all attempts together; None: only the timeouts of the system apply.
    Returns the stream, or the value of an explicit resume; then all attempts are closed. Suspends.
    Raises TypeError, ValueError (see `findaddr`; host "*"), `NotYieldable`, `Timeout`, or `UVError`: EAI_NONAME, … if
    there is no address; otherwise the error of the first attempt (ECONNREFUSED, …), with the other errors as notes.
    Source: RFC 8305.
    """
    if host in ("*", b"*"):
        raise ValueError('host "*" is every address of this machine: bind to it, but connect to one')
    race = _HappyEyeballs(check_host(host).decode(), check_service(service).decode())
    try:
        with call_timeout(timeout):
            outcome: Any = race.run_in_scope()
    except BaseException:
        race.discard()
        raise
    if outcome is not race:
        race.discard()
    result: StreamSocket = race.winner if outcome is race else outcome  # the latter is what the resumer has passed
    return result


class _HappyEyeballs:
    """The attempts of one call. The caller decides the next step each time that something has happened.

    Look-ups and attempts are children of a scope of the caller: they store their results here, and emit the race.
    """

    def __init__(self, host: str, service: str) -> None:
        """Prepare a race for a connection to a service of a host, which are checked already."""
        self.host, self.service = host, service
        self.resolving: set[Domain] = set()  # families whose look-up has not ended
        self.untried: dict[Domain, deque[Address]] = {domain: deque() for domain in get_args(Domain)}  # not tried yet
        self.attempts = 0  # attempts in progress
        self.latest: Address | None = None  # the address of the attempt that began last
        self.not_before = 0.0  # the time when the next attempt may begin
        self.winner: StreamSocket | None = None
        self.lookup_errors: dict[Domain, UVError] = {}  # errors of look-ups
        self.failures: list[UVError] = []  # errors of attempts

    def __repr__(self) -> str:
        """The connection that the caller waits for, as reports show it."""
        return f"<connection to {self.host} {self.service}>"

    def run_in_scope(self) -> object:
        """Call `run` in a scope; return or raise its result when no attempt is left.

        The scope is not visible to the caller: an error is not wrapped in an exception group.
        """
        outcome: object = None
        failure: BaseException | None = None
        # The attempts are cancelled and have ended before anything is raised.
        try:
            with scope() as children:
                try:
                    outcome = self.run(children)
                except BaseException as error:  # noqa: BLE001  # raised after the attempts
                    failure = error
                children.cancel()
        except ExceptionGroup as thrown:  # into the caller, while the attempts ended
            failure = thrown.exceptions[0] if len(thrown.exceptions) == 1 else thrown
        if failure is not None:
            try:
                reraise(failure)
            finally:
                del failure  # the traceback refers to this frame
        return outcome

    def run(self, children: Scope) -> object:
        """Return the race when there is a winner, or the value of an explicit resume.

        Raises `UVError` if all attempts have failed.
        """
        self._look_up(children)
        while self.winner is None:
            delay = self.delay(time("updated"))
            if delay < PRECISION:
                self._try_next(children)
            elif delay == inf and not self.resolving and not self.attempts:
                raise self._failed()
            elif (outcome := self._wait_for_change(delay)) is not self:
                return outcome
        return self

    def discard(self) -> None:
        """Close the stream, which the caller will not get."""
        if self.winner is not None:
            self.winner.close()

    def delay(self, now: float) -> float:
        """Return the seconds until the next attempt begins: inf if there is no address for one."""
        return max(self.not_before - now, 0.0) if any(self.untried.values()) else inf

    def _wait_for_change(self, seconds: float) -> object:
        """Wait until something has happened, at most `seconds`; return the race, or the value of an explicit resume."""
        with move_on_after(seconds):
            return event.await_(self)
        return self  # the time is up

    def _look_up(self, children: Scope) -> None:
        known = _literal(self.host, self.service)
        if known is not None:
            self.untried[known.type].append(known)
            return
        self.resolving.update(self.untried)
        for domain in ("ipv6", "ipv4"):
            children.spawn(self._find, domain, name=f"find {domain} {self.host}")

    def _find(self, domain: Domain) -> None:
        try:
            entries = findaddr(self.host, self.service, ipv4=domain == "ipv4", ipv6=domain == "ipv6", stream=True)
            self.untried[domain].extend(address for address, _ in entries)
        except UVError as error:
            self.lookup_errors[domain] = error.with_traceback(None)  # the traceback refers to this race
        self.resolving.discard(domain)
        if self.latest is None:
            self.not_before = time("updated") + RESOLUTION_DELAY if "ipv6" in self.resolving else 0.0
        event.emitall(self)

    def _try_next(self, children: Scope) -> None:
        """Begin an attempt, with the other family than the last one's if an address of that family is left."""
        domain: Domain = "ipv6" if self.latest is None else _OTHER[self.latest.type]
        left = self.untried[domain] or self.untried[_OTHER[domain]]
        self.latest = target = left.popleft()
        self.not_before = time("updated") + ATTEMPT_DELAY
        self.attempts += 1
        children.spawn(self._attempt, target, name=f"connect {target}")

    def _attempt(self, to: Address) -> None:
        try:
            stream = _connected(to)
        except UVError as error:
            error.filename = str(to)  # the end of its text
            self.failures.append(error.with_traceback(None))
            if self.latest is to:
                self.not_before = 0.0
        else:
            if self.winner is None:
                self.winner = stream
            else:
                stream.close()
        self.attempts -= 1
        event.emitall(self)

    def _failed(self) -> UVError:
        """Return the error to raise when all attempts have failed."""
        if not self.failures:
            literal = self.lookup_errors["ipv4"].name == "EAI_ADDRFAMILY"  # of IPv6, in an unknown zone
            return self.lookup_errors["ipv6" if literal else "ipv4"]
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
    """Return the address if both names are numeric: then the call does not depend on the thread pool."""
    if not service.isdigit():
        return None
    for domain in get_args(Domain):
        try:
            return address(domain, host, int(service))
        except UVError:
            continue
    return None
