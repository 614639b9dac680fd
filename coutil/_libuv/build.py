"""Build the extension module `coutil._libuv._lib`: the files of the folder `c` against the libuv of the system.

Each `NAME.c` is compiled by itself. `NAME.h` declares what other files call. Behind the line "called by Python" it
declares what Python calls, with its types, and cffi reads that part, too. `NAME.cdef.h` is for cffi alone: constants,
structures of which Python sees a part, and functions of libuv that Python calls directly.

`COUTIL_LIBUV=/prefix` builds against the libuv under that prefix; otherwise pkg-config says where it is.
`COUTIL_SANITIZER=address` (or undefined, or thread) adds that sanitizer of the compiler: see `make asan`.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sysconfig
import tempfile
from pathlib import Path

from cffi import FFI

ROOT = Path(__file__).resolve().parents[2]  # setuptools compiles files by their paths from here
FOLDER = ROOT / "coutil" / "_libuv" / "c"
INCLUDE = str(FOLDER.relative_to(ROOT))
OLDEST = "1.44.2"
CALLED_BY_PYTHON = "/* ---- called by Python ---- */"


def flags() -> dict[str, list[str]]:
    """Return the compiler and linker arguments that find libuv. Raises SystemExit with one line of advice."""
    prefix = os.environ.get("COUTIL_LIBUV")
    if prefix:
        lib = f"{prefix}/lib"
        include = [INCLUDE, f"{prefix}/include"]
        return {"include_dirs": include, "library_dirs": [lib], "runtime_library_dirs": [lib]}
    command = ["pkg-config", "--cflags", "--libs", f"libuv >= {OLDEST}"]
    try:
        words = shlex.split(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    except (OSError, subprocess.CalledProcessError):
        advice = "install pkg-config and libuv's headers (Debian: libuv1-dev), or set COUTIL_LIBUV=/prefix"
        raise SystemExit(f"coutil needs libuv {OLDEST} or newer: {advice}") from None
    return {
        "include_dirs": [INCLUDE, *(word[2:] for word in words if word.startswith("-I"))],
        "library_dirs": [word[2:] for word in words if word.startswith("-L")],
    }


def link_time_optimization() -> list[str]:
    """Return the option that has the compiler inline functions across files; [] where that does not work.

    Without it, functions of other files are not inlined, and each call of C takes more instructions.
    """
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    with tempfile.TemporaryDirectory() as folder:
        trial = [*compiler, "-flto", "-fPIC", "-shared", "-x", "c", os.devnull, "-o", f"{folder}/trial.so"]
        try:
            done = subprocess.run(trial, check=False, capture_output=True)
        except OSError:
            return []  # no compiler: the build says so
    return [] if done.returncode else ["-flto"]


def named(ending: str) -> list[Path]:
    """Return the files of the folder whose names have that ending, sorted."""
    return sorted(FOLDER.glob(f"*{ending}"))


def definitions() -> str:
    """Return what Python sees, in C as cffi reads it: first the constants and types, then the functions."""
    seen = [path.read_text(encoding="utf-8") for path in named(".cdef.h")]
    functions = [path.read_text(encoding="utf-8").partition(CALLED_BY_PYTHON)[2] for path in headers()]
    return "\n".join([*seen, *functions])


def headers() -> list[Path]:
    """Return the headers that C includes."""
    return [path for path in named(".h") if not path.name.endswith(".cdef.h")]


sanitizer = os.environ.get("COUTIL_SANITIZER")
SANITIZER = [f"-fsanitize={sanitizer}", "-fno-sanitize-recover", "-fno-omit-frame-pointer", "-g"] if sanitizer else []

OPTIONS = ["-O2", "-fvisibility=hidden", "-Wall", "-Wextra", "-Wno-unused-parameter"]
BOTH = SANITIZER or link_time_optimization()  # the linker takes these, too

ffibuilder = FFI()
ffibuilder.cdef(definitions())
ffibuilder.set_source(
    "coutil._libuv._lib",
    "\n".join(f'#include "{path.name}"' for path in headers()),
    sources=[str(path.relative_to(ROOT)) for path in named(".c")],
    depends=[str(path.relative_to(ROOT)) for path in named(".h")],
    libraries=["uv"],
    py_limited_api=False,  # one name for the module, however it is built
    define_macros=[("_GNU_SOURCE", "1"), ("_FILE_OFFSET_BITS", "64")],
    extra_compile_args=[*OPTIONS, *BOTH],
    extra_link_args=BOTH,
    **flags(),
)

if __name__ == "__main__":
    ffibuilder.compile(tmpdir=str(ROOT), verbose=True)
