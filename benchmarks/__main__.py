"""All benchmarks, or one of the programs with its own options.

python -m benchmarks
python -m benchmarks echo --rounds 5 --connections 1,64,1000
python -m benchmarks micro --benchmarks suspend,spawn
python -m benchmarks system --jobs copy,execute
"""

import sys

from benchmarks import echo, micro, system

PROGRAMS = {"echo": echo.main, "micro": micro.main, "system": system.main}


def main(arguments: list[str]) -> int:
    """Run the program that is named, else all of them. Return 1 if anything failed."""
    if arguments and arguments[0] in PROGRAMS:
        return PROGRAMS[arguments[0]](arguments[1:])
    if arguments:
        print(__doc__, file=sys.stderr)
        return 2
    return max([program([]) for program in PROGRAMS.values()])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
