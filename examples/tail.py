"""Print the lines that are added to files, each with its file's name, until Ctrl-C: `tail -F` for many files.

    python examples/tail.py app.log other.log

A file that is truncated is read from its beginning again; one that is replaced (rotated logs) is read to its end, then
the new one from its beginning. Each file has a coroutine; `system.watch` misses nothing that happens while it reads.
"""

import argparse

from coutil import system
from coutil.scopes import scope


def follow(path):
    """Print what is added to the file at `path`, for ever."""
    with system.watch(path) as changes:
        file, at = system.openfile(path), system.fileinfo(path, "size")
        try:
            for _ in changes:
                at = print_rest(path, file, at)
                if (fresh := replaced(path, file)) is not None:
                    file.close()
                    file, at = fresh, print_rest(path, fresh, 0)
        finally:
            file.close()


def print_rest(path, file, at):
    """Print the whole lines that a file has from the position `at` on; return where they end."""
    at = at if at <= file.info("size") else 0
    while data := file.read(65536, offset=at):
        if not (end := data.rfind(b"\n") + 1 or len(data) // 65536 * 65536):
            break  # the line goes on
        at += end
        for line in data[:end].splitlines():
            print(f"{path}: {line.decode(errors='replace')}", flush=True)
    return at


def replaced(path, file):
    """Return the file that is at `path` now if it is another one than `file`; None if it is the same, or none."""
    try:
        if system.fileinfo(path, "inode") == file.info("inode"):
            return None
        return system.openfile(path)
    except FileNotFoundError:
        return None


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+")
    try:
        with scope() as s:
            for path in parser.parse_args().files:
                s.spawn(follow, path)
    except KeyboardInterrupt:
        pass
