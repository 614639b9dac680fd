"""What holds something of the system, or runs, exists once: copies and pickles are refused."""

import copy
import pickle

import pytest

from coutil import coroutine, system, uv

MADE = {
    "coroutine": lambda path: coroutine.create(print),
    "stream": lambda path: system.socket("stream", "ipv4"),
    "listener": lambda path: system.socket("passive", "local"),
    "datagram socket": lambda path: system.socket("datagram", "ipv6"),
    "file": lambda path: system.openfile(str(path / "file"), write=True, create=True, perm="rw"),
    "folder": lambda path: system.listdir(str(path)),
    "watch": lambda path: system.watch(str(path)),
    "process": lambda path: system.start("true"),
    "timer": lambda path: uv.new_timer(),
    "loop": lambda path: uv.Loop(),
}


@pytest.mark.parametrize("kind", MADE)
def test_nothing_is_copied(kind, tmp_path):
    """A copy would share what the original holds, and close it when it goes."""
    made = MADE[kind](tmp_path)
    for take in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="cannot copy or pickle <"):
            take(made)
    if kind == "process":
        made.wait()
    elif kind != "folder":
        made.close()
    else:
        list(made)
