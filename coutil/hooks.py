"""Tools that watch what coroutines do: hooks, which are called at every switch and every turn of a loop.

    class Count(hooks.Hooks):
        switches = 0

        def resumed(self, coroutine):
            self.switches += 1

    hooks.install(count := Count())

Rule 1: hooks are of one event loop, that of whoever installs them; other threads, and other loops of `coutil.uv`, have
their own. Several are called in the order of their installation.
Rule 2: a hook runs between two switches. It cannot wait (`NotYieldable`), and should not take long. It is called while
the hub, or a coroutine that resumes another one, is in the middle of something: it may look, but change nothing there.
Rule 3: what a hook raises goes to the excepthook (`system.set_excepthook`), with None for the coroutine; the other
hooks, the coroutines and the loop go on. KeyboardInterrupt and SystemExit leave the loop as always.
Rule 4: without hooks each place costs one comparison. With them, coroutines do not enter each other directly.

`coutil.debug` has two tools that are made of hooks.
"""

from __future__ import annotations

from ._coroutines import Coroutine, Hooks, LoopContext, current_context

__all__ = ["Hooks", "install", "uninstall"]


def install(hooks: Hooks) -> None:
    """Have the methods of `hooks` called in the event loop of the caller, from the next switch or turn on.

    Never suspends. Raises TypeError (no `Hooks`), ValueError (installed in this loop already).
    """
    if not isinstance(hooks, Hooks):
        raise TypeError(f"hooks must be an instance of coutil.hooks.Hooks, not {hooks!r}")
    context = current_context()
    tools = _installed(context)
    if hooks in tools:
        raise ValueError(f"{hooks!r} is installed already")
    _set(context, (*tools, hooks))


def uninstall(hooks: Hooks) -> None:
    """Have them called no longer. Never suspends. Raises ValueError: they are not installed in the caller's loop."""
    context = current_context()
    tools = _installed(context)
    if hooks not in tools:
        raise ValueError(f"{hooks!r} is not installed in this event loop")
    _set(context, tuple(one for one in tools if one is not hooks))


class _Several(Hooks):
    """Hooks that call others, one after another, whatever they raise."""

    def __init__(self, context: LoopContext, tools: tuple[Hooks, ...]) -> None:
        self.context, self.tools = context, tools

    def resumed(self, coroutine: Coroutine) -> None:
        for one in self.tools:
            self.context.call_hook(one.resumed, coroutine)

    def parked(self, coroutine: Coroutine) -> None:
        for one in self.tools:
            self.context.call_hook(one.parked, coroutine)

    def turn(self, count: int) -> None:
        for one in self.tools:
            self.context.call_hook(one.turn, count)


def _installed(context: LoopContext) -> tuple[Hooks, ...]:
    hooks = context.hooks
    if isinstance(hooks, _Several):
        return hooks.tools
    return () if hooks is None else (hooks,)


def _set(context: LoopContext, tools: tuple[Hooks, ...]) -> None:
    context.hooks = _Several(context, tools) if len(tools) > 1 else tools[0] if tools else None
