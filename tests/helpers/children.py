"""What children of scopes do in tests."""

from __future__ import annotations

from typing import Any

from coutil import event, system


def sleeper(log: list[Any], seconds: float = 10, name: Any = "slept") -> Any:
    """Sleep and say so; say it also if that was cut."""
    try:
        system.suspend(seconds)
    except BaseException as error:
        log.append(type(error).__name__)
        raise
    log.append(name)
    return name


def fail(error: BaseException, seconds: float | None = None) -> None:
    """Raise `error`, after a while or at once."""
    if seconds is not None:
        system.suspend(seconds)
    raise error


def wait_for(name: Any) -> Any:
    """Wait for an event; return what came."""
    return event.await_(name)
