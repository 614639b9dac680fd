"""Dynamic libraries."""

from __future__ import annotations

from typing import Any, Self

from .._libuv import library
from .._libuv.files import Path, encoded
from ..errors import Closed
from .module_function import module_function

__all__ = ["Lib", "dlclose", "dlopen", "dlsym"]


class Lib:
    """A dynamic library. It stays loaded until `close`, even if the object is forgotten: addresses may be in use.

    Errors are a `UVError` with the name UNKNOWN and the text of dlerror(3), which has no error numbers.
    """

    __slots__ = ("__weakref__", "_library", "_path")

    def __init__(self, path: Path) -> None:
        """Load a library. Blocks for a moment. path: a path, or a name that the dynamic loader searches.

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
        """Close the library."""
        self.close()

    def sym(self, name: str) -> int:
        """Return the address of a function or variable.

        The address is valid until `close`. Raises TypeError, ValueError (a NUL), `Closed`, `UVError`. Source: uv_dlsym.
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
        """Unload the library: its addresses become invalid. A second call is no error. Source: uv_dlclose."""
        loaded, self._library = self._library, None
        if loaded:
            library.close(loaded)


def dlopen(path: Path) -> Lib:
    """Return a new `Lib`. Source: uv_dlopen."""
    return Lib(path)


dlclose = module_function(Lib.close)
dlsym = module_function(Lib.sym)
