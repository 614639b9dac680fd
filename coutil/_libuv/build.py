"""Build the extension module `coutil._libuv._lib`: shim.c and its parts against the libuv of the system.

A part is a pair of files: NAME.c, compiled together with shim.c and after it, so that it sees its static functions; and
NAME.cdef.h, what Python sees of it, if it sees anything.

`COUTIL_LIBUV=/prefix` builds against the libuv under that prefix; otherwise pkg-config tells where it is.
`COUTIL_SANITIZER=address` (or undefined, or thread) adds that sanitizer of the compiler: see `make asan`.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).parent
OLDEST = "1.44.2"
PARTS: tuple[str, ...] = (
    "turns",
    "descriptors",
    "options",
    "wakeups",
    "pool",
    "address",
    "ends",
    "random",
    "handles",
    "names",
    "info",
    "udp",
    "signals",
    "plain",
    "shutdown",
    "shared",
    "childfds",
    "process",
    "spawn_linux",
    "spawn_uv",
    "uvsignal",
    "uvprocess",
    "fork",
    "pieces",
    "files",
    "ready",
    "poll",
    "local",
    "terminal",
    "streams",
    "listeners",
    "watch",
    "library",
    "thread",
    "work",
)


def flags() -> dict[str, list[str]]:
    """Return the compiler and linker arguments that find libuv. Raises SystemExit with one line of advice."""
    prefix = os.environ.get("COUTIL_LIBUV")
    if prefix:
        lib = f"{prefix}/lib"
        return {"include_dirs": [f"{prefix}/include"], "library_dirs": [lib], "runtime_library_dirs": [lib]}
    command = ["pkg-config", "--cflags", "--libs", f"libuv >= {OLDEST}"]
    try:
        words = shlex.split(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    except (OSError, subprocess.CalledProcessError):
        advice = "install pkg-config and libuv's headers (Debian: libuv1-dev), or set COUTIL_LIBUV=/prefix"
        raise SystemExit(f"coutil needs libuv {OLDEST} or newer: {advice}") from None
    return {
        "include_dirs": [word[2:] for word in words if word.startswith("-I")],
        "library_dirs": [word[2:] for word in words if word.startswith("-L")],
    }


def text(name: str) -> str:
    """Return a file of this folder."""
    return (HERE / name).read_text(encoding="utf-8")


sanitizer = os.environ.get("COUTIL_SANITIZER")
SANITIZER = [f"-fsanitize={sanitizer}", "-fno-sanitize-recover", "-fno-omit-frame-pointer", "-g"] if sanitizer else []

ffibuilder = FFI()
SEEN = [f"{part}.cdef.h" for part in ("uv", *PARTS)]
ffibuilder.cdef("\n".join(text(name) for name in SEEN if (HERE / name).exists()))
ffibuilder.set_source(
    "coutil._libuv._lib",
    "\n".join(f'#line 1 "{name}.c"\n{text(f"{name}.c")}' for name in ("shim", *PARTS)),
    libraries=["uv"],
    py_limited_api=False,  # one name for the module, however it is built
    extra_compile_args=["-O2", "-fvisibility=hidden", "-Wall", "-Wextra", "-Wno-unused-parameter", *SANITIZER],
    extra_link_args=SANITIZER,
    **flags(),
)

if __name__ == "__main__":
    ffibuilder.compile(tmpdir=str(HERE.parents[1]), verbose=True)
