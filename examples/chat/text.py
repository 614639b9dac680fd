"""Text in transit: between the two sides of the chat, and from the keyboard."""

import re
from codecs import getincrementaldecoder
from contextlib import suppress

LONGEST = 1000  # characters that a line may have
ARROWS = re.compile(rb"\x1b(\[[\d;]*.|O?.)?")  # and other keys that produce no character


def lines(stream):
    """Yield the lines that arrive, without control characters for terminals; stop at a line without end."""
    text = stream.text(errors="replace", newline="\n")
    while (line := text.readline(LONGEST)).endswith("\n"):
        yield "".join(filter(str.isprintable, line))


def deliver(queue, stream):
    """Send the lines of a queue until the connection breaks; the receiving coroutine gets that error, too."""
    with suppress(ConnectionError):
        for line in queue:
            stream.send(line)


def keys(terminal):
    """Yield the characters that are typed."""
    decode = getincrementaldecoder("utf-8")("replace").decode
    while data := terminal.receive():
        yield from decode(ARROWS.sub(b"", data))
