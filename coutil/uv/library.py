"""Dynamic libraries."""

from __future__ import annotations

from typing import Any, Self

from .._libuv import library
from .._libuv.files import Path, encoded
from ..errors import Closed
from .flat import flat

__all__ = ["Lib", "dlclose", "dlopen", "dlsym"]


class Lib:
    """A dynamic library. It stays loaded until `close`, also if the object is forgotten: somebody may have addresses.

    Errors are a `UVError` named UNKNOWN with the text of the system: it has no numbers for them.
    """

    __slots__ = ("__weakref__", "_library", "_path")

    def __init__(self, path: Path) -> None:
        """Load a library. Blocks for a moment. path: a path, or a name that the system's loader looks for.

        Raises TypeError, ValueError (a NUL), `UVError`. Source: uv_dlopen.
        """
        self._path = path
        self._library: Any = None
        self._library = library.load(encoded(path))

    def __repr__(self) -> str:
        """Path and state."""
        return f"<Lib {self._path!r}{'' if self._library else ' closed'}>"

    def __enter__(self) -> Self:
        """Return the library; it is closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def sym(self, name: str) -> int:
        """Return the address of a function or variable.

        It is good until `close`. Raises TypeError, ValueError (a NUL), `Closed`, `UVError`. Source: uv_dlsym.
        """
        if not isinstance(name, str):
            raise TypeError(f"name must be a string, not {name!r}")
        wanted = encoded(name, "name")
        if not self._library:
            raise Closed(f"the library {self._path!r} is closed")
        return library.symbol(self._library, wanted)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return not self._library

    def close(self) -> None:
        """Give the library up: its addresses are no good any more. Twice is no error. Source: uv_dlclose."""
        loaded, self._library = self._library, None
        if loaded:
            library.close(loaded)


def dlopen(path: Path) -> Lib:
    """Return a new `Lib`. Source: uv_dlopen."""
    return Lib(path)


dlclose = flat(Lib.close)
dlsym = flat(Lib.sym)
