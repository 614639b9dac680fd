"""The mix-in of all objects that a `with` block closes."""

from __future__ import annotations

from contextlib import suppress
from typing import Self

from .errors import Forked

__all__ = ["Closeable"]


class Closeable:
    """An object with a method `close`, which a `with` block calls at its end."""

    __slots__ = ()

    def close(self) -> bool:
        """Close it; return True. Closing twice is no error."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        """Return the object itself; it is closed at the end of the block."""
        return self

    def __exit__(self, kind: object, raised: object, traceback: object) -> None:
        """Close it. In the child of a fork do nothing: the object belongs to the parent."""
        with suppress(Forked):
            self.close()
