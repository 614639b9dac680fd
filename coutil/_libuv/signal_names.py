"""Signals as arguments and results: names, numbers, and the words that `coutil.system` uses for them."""

from __future__ import annotations

from signal import SIGKILL, SIGSTOP, Signals

from .arguments import check_int

__all__ = ["awaitable_number", "signal_number", "signal_word"]

_WORDS = {
    "interrupt": "SIGINT",
    "terminate": "SIGTERM",
    "stop": "SIGTSTP",
    "continue": "SIGCONT",
    "hangup": "SIGHUP",
    "stdinoff": "SIGTTIN",
    "stdoutoff": "SIGTTOU",
    "winresize": "SIGWINCH",
    "quit": "SIGQUIT",
    "child": "SIGCHLD",
    "abort": "SIGABRT",
    "brokenpipe": "SIGPIPE",
    "urgentsock": "SIGURG",
    "userdef1": "SIGUSR1",
    "userdef2": "SIGUSR2",
    "trap": "SIGTRAP",
    "filelimit": "SIGXFSZ",
    "clocktime": "SIGALRM",
    "cpulimit": "SIGXCPU",
    "cputotal": "SIGPROF",
    "cputime": "SIGVTALRM",
    "polling": "SIGPOLL",
    "sysargerr": "SIGSYS",
    "kill": "SIGKILL",
    "pause": "SIGSTOP",
}
_numbers = {word: int(Signals.__members__[name]) for word, name in _WORDS.items() if name in Signals.__members__}
_words = {number: word for word, number in _numbers.items()}
_HIGHEST = 255  # the system itself refuses a number below that for which it has no signal
_ACCEPTED = f"""accepted are {", ".join(f'"{word}"' for word in _numbers)}, names such as "SIGTERM", and numbers"""


def signal_number(argument: str, signal: object) -> int:
    """Return the number of a signal.

    signal: a word of the table above, a name of the `signal` module in upper or lower case, or a number.
    argument: the name of the argument, for errors. Raises TypeError, ValueError.
    """
    if isinstance(signal, str):
        number = _numbers.get(signal)
        if number is None:
            number = Signals.__members__.get(signal.upper())
        if number is None:
            raise ValueError(f"invalid {argument}: {signal!r}; {_ACCEPTED}")
        return int(number)
    return int(check_int(argument, signal, 0, _HIGHEST, "a string or an int"))


def awaitable_number(argument: str, signal: object) -> int:
    """Return the number of a signal that a process can wait for. Raises TypeError, ValueError."""
    number = signal_number(argument, signal)
    if number in (0, SIGKILL, SIGSTOP):
        raise ValueError(f"invalid {argument}: no process is notified of {signal!r}, so nothing can wait for it")
    return number


def signal_word(number: int) -> str:
    """Return the word for a signal; "signal" if there is none."""
    return _words.get(number, "signal")
