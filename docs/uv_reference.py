"""Write uv-reference.md from the table of functions: python docs/uv_reference.py."""

from __future__ import annotations

import sys
from pathlib import Path

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER.parent))

from coutil.uv.functions import BLOCKING_KIND, SECTIONS, Function, functions  # noqa: E402  # found through the line above

INTRODUCTION = """\
# libuv's functions in `coutil.uv`

`make docs` generates this page from the table in `coutil/uv/functions.py`: change that table.

Every function with an object exists twice: flat, under libuv's name with the object as its first argument
(`uv.timer_start(timer, 1000)`), and as a method (`timer.start(1000)`). The docstrings describe arguments and errors.
*since*: the version of libuv that introduced the function, if it is newer than 1.44.2. `uv.has("udp_try_send2")`
returns whether the libuv that coutil was built against has it.

{total} functions: {exposed} are exposed, {left_out} are not.

| how | a call |
|---|---|
{how}
"""
HEAD = "| libuv | flat | method | how | since | remark |\n|---|---|---|---|---|---|"


def names(text: str) -> str:
    """Return names as the table shows them."""
    return "<br>".join(f"`{name}`" for name in text.split())


def line(row: Function) -> str:
    """Return a row of the reference."""
    flat = names(row.function_names) if row.function_names != row.name else "same"
    return f"| `uv_{row.name}` | {flat} | {names(row.methods)} | {row.blocking_kind} | {row.since} | {row.remark} |"


def reference() -> str:
    """Return the text of the file."""
    rows = functions().values()
    left_out = sum(row.blocking_kind == "X" for row in rows)
    how = "\n".join(f"| {letter} | {meaning} |" for letter, meaning in BLOCKING_KIND.items())
    begin = INTRODUCTION.format(total=len(rows), exposed=len(rows) - left_out, left_out=left_out, how=how)
    sections = ("\n".join([f"## {title}", "", HEAD, *map(line, found)]) for title, found in SECTIONS.items())
    return "\n\n".join([begin.rstrip(), *sections]) + "\n"


if __name__ == "__main__":
    (FOLDER / "uv-reference.md").write_text(reference(), encoding="utf-8")
