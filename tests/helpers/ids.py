"""Names of parametrized tests that are short, and the same in every process."""

import re


def shown(value: object) -> str:
    """Return the repr of a value without addresses in memory, sets in order; of long bytes only their number."""
    if isinstance(value, bytes) and len(value) > 40:
        return f"{len(value)} bytes"
    if isinstance(value, set):
        return repr(sorted(value))
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))
