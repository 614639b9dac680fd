"""What client and server send to each other: frames, each of one byte that tells its kind, the size, and the data.

The client sends one: C, the command, its arguments separated by null characters. The server sends any number of O and
E, output and error output, and at last one of X: how the command has ended.
"""

from struct import Struct

HEAD = Struct(">cI")
LARGEST = 1 << 20  # bytes of data that we take


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
