"""Chat client: edits a line in raw mode, so that messages of other members do not break it.

    python examples/chat/client.py ada --port 7002

Return sends the line, Backspace and Ctrl-U erase, Ctrl-C or Ctrl-D leaves. The mode of the terminal is restored.
"""

import argparse
import sys

from text import keys, lines

from coutil import system
from coutil.scopes import scope


def show(screen, typed, text=""):
    """Print text above the line that is being typed, and the end of that line for which there is room."""
    room = (screen.winsize()[0] or 80) - 3
    screen.send(f"\r\x1b[K{text}> {''.join(typed[-room:])}".encode())


def listen(server, screen, typed, session):
    """Show the messages of other members, until the server closes the connection."""
    for line in lines(server):
        show(screen, typed, f"{line}\n")
    session.cancel()


def edit(server, screen, typed):
    """Handle keys until one of them means to leave."""
    for key in keys(screen):
        if key in "\x03\x04":  # Ctrl-C, Ctrl-D
            return
        if key == "\r":
            server.send(f"{''.join(typed)}\n".encode())
        if key in "\r\x15":  # Ctrl-U
            typed.clear()
        elif key in "\b\x7f":
            del typed[-1:]
        elif key.isprintable():
            typed.append(key)
        show(screen, typed)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name")
    parser.add_argument("--port", type=int, default=7002)
    options = parser.parse_args()
    if not sys.stdin.isatty():
        parser.error("this needs a terminal")
    with system.connect("127.0.0.1", options.port) as server, system.stdin as screen, scope() as session:
        server.send(f"{options.name}\n".encode())
        screen.setmode("raw")
        session.spawn(listen, server, screen, typed := [], session)
        edit(server, screen, typed)
        session.cancel()
    print()
