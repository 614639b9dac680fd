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
    rest = b""
    while data := stream.receive():
        rest += data
        while len(rest) >= HEAD.size:
            kind, size = HEAD.unpack_from(rest)
            if size > LARGEST:
                raise ConnectionAbortedError(f"a frame of {size} bytes is too large")
            end = HEAD.size + size
            if len(rest) < end:
                break
            yield kind, rest[HEAD.size : end]
            rest = rest[end:]
