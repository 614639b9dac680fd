"""Prints the tables of the state machines, for docs/architecture.md."""

from .states import OBJECT, OPERATION, table

print(table(OPERATION), table(OBJECT), sep="\n\n")
