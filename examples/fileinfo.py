"""Add up the files below a folder: coroutines examine many of them at once, in libuv's thread pool.

    python examples/fileinfo.py /usr/share/doc --coroutines 8

Prints the number of entries of each type, the bytes of the files, and the largest ones.
"""

import argparse
import os
import sys
from collections import Counter

from coutil import spawn, system


def examine(folders, totals):
    """List folders, and add the folders in them to the list, until none is left."""
    while folders:
        path = folders.pop()
        try:
            with system.listdir(path) as entries:
                for name, kind in entries:
                    below = os.path.join(path, name)
                    totals["types"][kind] += 1
                    if kind == "directory":
                        folders.append(below)
                    elif kind == "file":
                        totals["sizes"][below] = system.fileinfo(below, "size", follow=False)
        except OSError as error:
            print(error, file=sys.stderr)


def main():
    """Examine the files, and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", nargs="?", default=".")
    parser.add_argument("--coroutines", type=int, default=8, help="default: 8")
    options = parser.parse_args()
    folders, totals = [options.path], {"types": Counter(), "sizes": Counter()}
    while folders:
        for _ in range(min(options.coroutines, len(folders))):
            spawn.call(examine, folders, totals)
        system.run()
    for kind, count in sorted(totals["types"].items()):
        print(f"{count:>12,} {kind}")
    print(f"{sum(totals['sizes'].values()):>12,} bytes")
    for path, size in totals["sizes"].most_common(5):
        print(f"{size:>12,} {path}")


if __name__ == "__main__":
    main()
