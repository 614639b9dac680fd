"""The two state machines, arrow by arrow: what the tables say, and that nothing else can happen."""

from __future__ import annotations

import itertools

import pytest

from coutil._coroutines import states
from tests.helpers.kernel import OBJECT, OPERATION, Arrow, KernelHandle, Operation, State, arrow, audited, observers

# Number, from, to and scope: "T" in the caller's code, "U" in the hub.
OPERATION_ARROWS = [
    (1, "Freed", "Await-request", "TU"),
    (2, "Freed", "Await-handle", "TU"),
    (3, "Await-request", "Freed", "U"),
    (4, "Await-request", "Close-request", "T"),
    (5, "Await-handle", "Close-handle", "T"),
    (6, "Await-handle", "Armed", "U"),
    (7, "Close-request", "Freed", "U"),
    (8, "Close-handle", "Freed", "TU"),
    (9, "Armed", "Close-handle", "TU"),
    (10, "Armed", "Await-handle", "T"),
]
OBJECT_ARROWS = [
    (1, "Ready", "Close", "T"),
    (2, "Ready", "Await", "T"),
    (3, "Close", "Freed", "U"),
    (4, "Await", "Ready", "T"),
    (5, "Await", "Close", "T"),
    (6, "Await", "Armed", "U"),
    (7, "Armed", "Ready", "U"),
    (8, "Armed", "Close", "T"),
    (9, "Armed", "Await", "T"),
]
both = pytest.mark.parametrize(
    ("table", "expected"), [(OPERATION, OPERATION_ARROWS), (OBJECT, OBJECT_ARROWS)], ids=["operation", "object"]
)
tables = pytest.mark.parametrize("table", [OPERATION, OBJECT], ids=["operation", "object"])


def nodes(table):
    """Return the states of a table, each once."""
    return list(dict.fromkeys(state for one in table for state in (one.source, one.target)))


@pytest.fixture
def make(monkeypatch):
    """Return a function that makes an owner whose state is checked against a table."""
    monkeypatch.setattr(states, "DEBUG", True)

    def owner(table):
        @audited(table)
        class Owner:
            __slots__ = ("state",)

        return Owner()

    return owner


@pytest.fixture
def seen():
    """What observers were told: (owner, arrow)."""
    told = []

    def observer(owner, taken):
        told.append((owner, taken))

    observers.append(observer)
    yield told
    observers.remove(observer)


# -- the tables


@both
def test_table_is_the_one_of_the_notes(table, expected):
    """Every arrow with its number, its two states and its scope, in order; nothing else."""
    assert [(one.number, one.source.name, one.target.name, one.scope) for one in table] == expected
    assert all(isinstance(one, Arrow) and one.event for one in table)
    assert len({one.event for one in table}) == len(table)


@both
def test_numbers_are_complete(table, expected):
    """1 to 10 for operations, 1 to 9 for objects, each once."""
    assert [one.number for one in table] == list(range(1, len(expected) + 1))
    assert len(table) == (10 if table is OPERATION else 9)
    assert len({(one.source, one.target) for one in table}) == len(table)


def test_states_are_complete():
    """Six states of operations, five of objects; a name means one state within its table."""
    assert {state.name for state in nodes(OPERATION)} == {
        "Freed",
        "Await-request",
        "Await-handle",
        "Armed",
        "Close-request",
        "Close-handle",
    }
    assert {state.name for state in nodes(OBJECT)} == {"Ready", "Await", "Armed", "Close", "Freed"}
    for table in (OPERATION, OBJECT):
        assert len({state.name for state in nodes(table)}) == len(nodes(table))
    assert not set(nodes(OPERATION)) & set(nodes(OBJECT))


def test_states_are_compared_by_identity():
    """Two states of the same name are two states; the repr is the name."""
    first, second = State("Armed"), State("Armed")
    assert first != second
    assert repr(first) == "Armed"
    assert first is not nodes(OPERATION)[3]


@tables
def test_every_state_is_reached_and_left(table):
    """From the first state every other one can be reached; only an object's Freed is final."""
    start = table[0].source
    reached, left = {start}, [start]
    while left:
        source = left.pop()
        for one in table:
            if one.source is source and one.target not in reached:
                reached.add(one.target)
                left.append(one.target)
    assert reached == set(nodes(table))
    final = reached - {one.source for one in table}
    assert {state.name for state in final} == (set() if table is OPERATION else {"Freed"})
    assert {one.scope for one in table} <= {"T", "U", "TU"}


# -- every pair of states


@tables
def test_arrow_of_every_pair(table):
    """arrow() returns the one that the table has, and refuses every other pair."""
    expected = {(one.source, one.target): one for one in table}
    refused = 0
    for source, target in itertools.product(nodes(table), repeat=2):
        if (source, target) in expected:
            assert arrow(table, source, target) is expected[source, target]
        else:
            refused += 1
            with pytest.raises(AssertionError, match=f"no transition leads from {source} to {target}"):
                arrow(table, source, target)
    assert refused == len(nodes(table)) ** 2 - len(table)


@tables
def test_assignment_of_every_pair(table, make, seen):
    """`audited` lets an owner follow the arrows, tells which one, and refuses everything else."""
    expected = {(one.source, one.target): one for one in table}
    refused = []
    for source, target in itertools.product(nodes(table), repeat=2):
        owner = make(table)
        owner.state = source  # the first one is free
        assert (owner.state, seen) == (source, [])
        if (source, target) in expected:
            owner.state = target
            assert owner.state is target
            assert seen == [(owner, expected[source, target])]
            seen.clear()
        else:
            with pytest.raises(AssertionError, match="no transition"):
                owner.state = target
            refused.append((source, target))
            assert seen == []
    assert len(refused) == len(nodes(table)) ** 2 - len(table)
    assert all(pair not in expected for pair in refused)


@tables
def test_states_of_the_other_table_are_refused(table, make):
    """A state that is none of the table's leads nowhere, even under the same name."""
    for source in nodes(table):
        for stranger in (*nodes(OBJECT if table is OPERATION else OPERATION), State(source.name)):
            owner = make(table)
            owner.state = source
            with pytest.raises(AssertionError, match="no transition leads from"):
                owner.state = stranger
    with pytest.raises(AssertionError):
        arrow(table, State("Freed"), table[0].target)


def test_owners_are_independent(make, seen):
    """Each owner has a state of its own, and observers are told whose changed."""
    first, second = make(OPERATION), make(OPERATION)
    one, two = OPERATION[0], OPERATION[1]
    first.state = second.state = one.source
    first.state = one.target
    second.state = two.target
    assert (first.state, second.state) == (one.target, two.target)
    assert seen == [(first, one), (second, two)]


def test_unchecked_without_debug(monkeypatch, seen):
    """Without COUTIL_DEBUG the class is left as it is: a state costs a slot, and nothing is told."""
    monkeypatch.setattr(states, "DEBUG", False)

    class Owner:
        __slots__ = ("state",)

    slot = Owner.__dict__["state"]
    assert audited(OPERATION)(Owner) is Owner
    assert Owner.__dict__["state"] is slot
    owner = Owner()
    owner.state = OPERATION[0].source
    owner.state = OPERATION[4].target  # no arrow, no one looks
    assert seen == []


@pytest.mark.skipif(not states.DEBUG, reason="transitions are checked while COUTIL_DEBUG=1 only")
@pytest.mark.parametrize("owner", [Operation, KernelHandle])
def test_owners_of_the_kernel_are_checked(owner):
    """Operations and handles carry the checked state, so that the whole suite walks the tables."""
    assert isinstance(owner.state, property)
    assert "state" in owner.__slots__
    with pytest.raises(AttributeError):
        owner.__new__(owner).state  # noqa: B018  # reading it before it is set
