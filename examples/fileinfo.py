"""Add up what is below a folder: coroutines look at many files at once, in libuv's thread pool.

    python examples/fileinfo.py /usr/share/doc --coroutines 8

Prints how many there are of each type, the bytes of the files, and the largest ones.
"""

import argparse
import os
import sys
from collections import Counter

from coutil import spawn, system


def look(folders, found):
    """Take folders, list them, and put those below them back, until none is left."""
    while folders:
        path = folders.pop()
        try:
            with system.listdir(path) as entries:
                for name, kind in entries:
                    below = os.path.join(path, name)
                    found["types"][kind] += 1
                    if kind == "directory":
                        folders.append(below)
                    elif kind == "file":
                        found["sizes"][below] = system.fileinfo(below, "size", follow=False)
        except OSError as error:
            print(error, file=sys.stderr)


def main():
    """Look, and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", nargs="?", default=".")
    parser.add_argument("--coroutines", type=int, default=8, help="default: 8")
    options = parser.parse_args()
    folders, found = [options.path], {"types": Counter(), "sizes": Counter()}
    while folders:
        for _ in range(min(options.coroutines, len(folders))):
            spawn.call(look, folders, found)
        system.run()
    for kind, count in sorted(found["types"].items()):
        print(f"{count:>12,} {kind}")
    print(f"{sum(found['sizes'].values()):>12,} bytes")
    for path, size in found["sizes"].most_common(5):
        print(f"{size:>12,} {path}")


if __name__ == "__main__":
    main()
