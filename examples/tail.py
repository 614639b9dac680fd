"""Print the lines that are added to files, each with its file's name, until Ctrl-C: `tail -F` for many files.

    python examples/tail.py app.log other.log

A file that is truncated is read again from its beginning; one that is replaced (rotated logs) is read to its end, then
the new one from its beginning. Each file has a coroutine; `system.watch` misses nothing that happens while it reads.
"""

import argparse

from coutil import system
from coutil.scopes import scope


def follow(path):
    """Print the lines that are added to the file at `path`, without end."""
    with system.watch(path) as changes:
        file, offset = system.openfile(path), system.fileinfo(path, "size")
        try:
            for _ in changes:
                offset = print_rest(path, file, offset)
                if (successor := replaced(path, file)) is not None:
                    file.close()
                    file, offset = successor, print_rest(path, successor, 0)
        finally:
            file.close()


def print_rest(path, file, offset):
    """Print the complete lines that a file has from `offset` on; return the offset of their end."""
    offset = offset if offset <= file.info("size") else 0
    while data := file.read(65536, offset=offset):
        if not (end := data.rfind(b"\n") + 1 or len(data) // 65536 * 65536):
            break  # the last line is not complete
        offset += end
        for line in data[:end].splitlines():
            print(f"{path}: {line.decode(errors='replace')}", flush=True)
    return offset


def replaced(path, file):
    """Return the file that is at `path` now, opened; None if it is still `file`, or if there is none."""
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
