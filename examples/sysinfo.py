"""Information about this process, the processors and the network; and names, which are looked up at the same time.

    python examples/sysinfo.py --plain

Draws tables if `rich` is installed (pip install rich), and prints plain text otherwise.
"""

import argparse

from coutil import system
from coutil.scopes import scope

try:
    from rich import console, table
except ImportError:
    table = None


def show(title, rows, plain):
    """Print rows of values as a table."""
    texts = [[str(value) for value in row] for row in rows]
    if plain or table is None:
        widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
        print(title)
        for row in texts:
            print("  " + "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
        return
    drawn = table.Table(title=title, title_justify="left", show_header=False)
    for row in texts:
        drawn.add_row(*row)
    console.Console().print(drawn)


def found(function, *arguments):
    """Return the result of a look-up, or the error that it raises."""
    try:
        names = function(*arguments)
    except (OSError, ValueError) as error:
        return error
    return ", ".join({str(address): 0 for address, _ in names}) if isinstance(names, system.Addresses) else names


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plain", action="store_true", help="no tables, also if rich is installed")
    parser.add_argument("--host", default="localhost", help="whose addresses to look up (default: localhost)")
    host, plain = (options := parser.parse_args()).host, options.plain
    with scope() as children:
        tasks = {
            f"addresses of {host}": children.spawn(found, system.findaddr, host, "http"),
            "port 22": children.spawn(found, system.nameaddr, 22),
            "127.0.0.1:80": children.spawn(found, system.nameaddr, system.address("ipv4", "127.0.0.1", 80)),
        }
        show("Process", system.procinfo()._asdict().items(), plain)
        show("Processors", ((number, model, f"{mhz:,} MHz") for number, model, mhz in system.cpuinfo("mc")), plain)
        show("Network", ((each.name, f"{each.address}/{each.prefix}", each.mac) for each in system.netinfo()), plain)
        show("Names", ((name, task.result()) for name, task in tasks.items()), plain)
