"""Hooks for tools that watch coroutines: methods that are called at every switch and every turn of a loop.

    class Count(hooks.Hooks):
        switches = 0

        def resumed(self, coroutine):
            self.switches += 1

    hooks.install(count := Count())

Rule 1: hooks belong to one event loop, that of the caller of `install`; other threads, and other loops of `coutil.uv`,
have their own. Several are called in the order of their installation.
Rule 2: a hook runs between two switches. It cannot wait (`NotYieldable`), and should not take long. It is called while
the hub, or a coroutine that resumes another one, is in the middle of a step: it may read its state, and not change it.
Rule 3: an exception of a hook goes to the excepthook (`system.set_excepthook`), with None for the coroutine; the other
hooks, the coroutines and the loop continue. KeyboardInterrupt and SystemExit leave the loop as always.
Rule 4: without hooks each place costs one comparison. With hooks, coroutines do not switch directly to each other.

`coutil.debug` has two tools that are hooks.
"""

from __future__ import annotations

from ._coroutines import Coroutine, Hooks, LoopContext, current_context

__all__ = ["Hooks", "install", "uninstall"]


def install(hooks: Hooks) -> None:
    """Have the methods of `hooks` called in the event loop of the caller, from the next switch or turn on.

    Never suspends. Raises TypeError (not a `Hooks`), ValueError (already installed in this loop).
    """
    if not isinstance(hooks, Hooks):
        raise TypeError(f"hooks must be an instance of coutil.hooks.Hooks, not {hooks!r}")
    context = current_context()
    tools = _installed(context)
    if hooks in tools:
        raise ValueError(f"{hooks!r} is already installed in this event loop")
    _set(context, (*tools, hooks))


def uninstall(hooks: Hooks) -> None:
    """Stop calling the methods of `hooks`. Never suspends. Raises ValueError (not installed in the caller's loop)."""
    context = current_context()
    tools = _installed(context)
    if hooks not in tools:
        raise ValueError(f"{hooks!r} is not installed in this event loop")
    _set(context, tuple(each for each in tools if each is not hooks))


class _Several(Hooks):
    """Hooks that call several others in turn; an exception of one does not prevent the next call."""

    def __init__(self, context: LoopContext, tools: tuple[Hooks, ...]) -> None:
        self.context, self.tools = context, tools

    def resumed(self, coroutine: Coroutine) -> None:
        for tool in self.tools:
            self.context.call_hook(tool.resumed, coroutine)

    def parked(self, coroutine: Coroutine) -> None:
        for tool in self.tools:
            self.context.call_hook(tool.parked, coroutine)

    def turn(self, count: int) -> None:
        for tool in self.tools:
            self.context.call_hook(tool.turn, count)


def _installed(context: LoopContext) -> tuple[Hooks, ...]:
    hooks = context.hooks
    if isinstance(hooks, _Several):
        return hooks.tools
    return () if hooks is None else (hooks,)


def _set(context: LoopContext, tools: tuple[Hooks, ...]) -> None:
    context.hooks = _Several(context, tools) if len(tools) > 1 else tools[0] if tools else None
