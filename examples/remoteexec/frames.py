"""Frames that client and server send to each other: one byte for the kind, the size of the data, and the data.

The client sends one frame: C, the command, its arguments separated by null characters. The server sends any number of
frames O (output) and E (error output), and finally one frame X: the end of the command.
"""

from struct import Struct

HEAD = Struct(">cI")
LARGEST = 1 << 20  # bytes of data that a frame may have


def frame(kind, data):
    """Return a frame."""
    return HEAD.pack(kind, len(data)) + data


def frames(stream):
    """Yield kind and data of each frame that arrives."""
    arriving = stream.buffered()
    while len(head := arriving.read(HEAD.size)) == HEAD.size:
        kind, size = HEAD.unpack(head)
        if size > LARGEST:
            raise ConnectionAbortedError(f"a frame of {size} bytes is too large")
        if len(data := arriving.read(size)) < size:
            return
        yield kind, data
