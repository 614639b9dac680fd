"""What the state machines do: the numbers of the transitions of operations and objects. Needs COUTIL_DEBUG."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.helpers.kernel import DEBUG, Arrow, observers

needs_debug = pytest.mark.skipif(not DEBUG, reason="transitions are reported while COUTIL_DEBUG=1 only")


class Walked:
    """Records, while the block runs, every transition of every owner; checks that each begins where the last ended."""

    def __init__(self) -> None:
        self._arrows: dict[int, list[Arrow]] = {}
        self._owners: list[Any] = []  # kept, so that no id is used twice

    def __enter__(self) -> Walked:
        observers.append(self._saw)
        return self

    def __exit__(self, *_: object) -> None:
        observers.remove(self._saw)
        self._owners.clear()

    def _saw(self, owner: Any, arrow: Arrow) -> None:
        arrows = self._arrows.setdefault(id(owner), [])
        if not arrows:
            self._owners.append(owner)
        else:
            assert arrows[-1].target is arrow.source, f"{arrow} does not go on from {arrows[-1]}"
        arrows.append(arrow)

    def by(self, owner: Any) -> str:
        """Return the numbers that `owner` walked: "2 6 9 8"."""
        return " ".join(str(arrow.number) for arrow in self._arrows.get(id(owner), ()))

    def owners(self, kind: type) -> list[Any]:
        """Return the owners of a class that have walked, in the order of their first steps."""
        return [owner for owner in self._owners if isinstance(owner, kind)]


class Reached:
    """Counts, while the block runs, how often each numbered transition of one table was walked."""

    def __init__(self, table: tuple[Arrow, ...]) -> None:
        self.table = table
        self.counts: Counter[int] = Counter()

    def __enter__(self) -> Reached:
        observers.append(self._saw)
        return self

    def __exit__(self, *_: object) -> None:
        observers.remove(self._saw)

    def _saw(self, _: Any, arrow: Arrow) -> None:
        if arrow in self.table:
            self.counts[arrow.number] += 1

    def missing(self) -> set[int]:
        """Return the numbers that nothing has walked."""
        return {arrow.number for arrow in self.table} - set(self.counts)
