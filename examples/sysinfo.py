"""What the system tells about itself: this process, the processors, the network interfaces, and some names.

    python examples/sysinfo.py --plain

Draws tables if `rich` is installed (pip install rich), and prints plain text otherwise. None of these calls waits but
those for names, which are looked up all at once while the rest is printed.
"""

import argparse

from coutil import system
from coutil.scopes import scope

try:
    from rich.console import Console
    from rich.table import Table
except ImportError:
    Table = None


def show(title, header, rows, plain):
    """Print a table."""
    if plain or Table is None:
        show_plain(title, header, rows)
        return
    table = Table(title=title, title_justify="left")
    for name in header:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def show_plain(title, header, rows):
    """Print a table in columns as wide as their widest text."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    print(title)
    for row in (header, *rows):
        print("  " + "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def process():
    """Return a row for each value that is known."""
    found = system.procinfo()._asdict()
    return [(name.replace("_", " "), str(value)) for name, value in found.items() if value is not None]


def processors():
    """Return a row for each processor."""
    return [
        (str(number), cpu.model, f"{cpu.mhz:,} MHz", f"{100 - 100 * cpu.idle // (sum(cpu[2:]) or 1)} %")
        for number, cpu in enumerate(system.cpuinfo(), 1)
    ]


def interfaces():
    """Return a row for each address."""
    return [
        (one.name, "internal" if one.internal else "external", f"{one.address}/{one.prefix}", one.mac)
        for one in system.netinfo()
    ]


def outcome(function, *arguments):
    """Return what a look-up found, or why it found nothing."""
    try:
        found = function(*arguments)
    except (OSError, ValueError) as error:
        return str(error)
    if isinstance(found, system.Addresses):
        return ", ".join(dict.fromkeys(str(address) for address, _ in found))
    return str(found)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plain", action="store_true", help="no tables, also if rich is installed")
    parser.add_argument("--host", default="localhost", help="whose addresses to look up (default: localhost)")
    options = parser.parse_args()
    with scope() as children:
        tasks = {
            f"addresses of {options.host}": children.spawn(outcome, system.findaddr, options.host, "http"),
            "port 22": children.spawn(outcome, system.nameaddr, 22),
            "127.0.0.1:80": children.spawn(outcome, system.nameaddr, system.address("ipv4", "127.0.0.1", 80)),
        }
        show("Process", ("what", "value"), process(), options.plain)
        show("Processors", ("number", "model", "clock", "busy"), processors(), options.plain)
        show("Network", ("interface", "kind", "address", "hardware"), interfaces(), options.plain)
        show("Names", ("what", "found"), [(what, task.result()) for what, task in tasks.items()], options.plain)
