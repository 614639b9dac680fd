"""UDP echo server in C (udp.c, compiled when needed): the most that any server could do."""

import os
import sys

from benchmarks.common import HERE, compiled

if __name__ == "__main__":
    program = compiled(HERE / "servers" / "udp.c")
    os.execv(program, [program.name, sys.argv[1]])
