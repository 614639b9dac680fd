"""The modules of the package are known to checkers without an import of their own."""

from typing import assert_type

import coutil


def use() -> None:
    assert_type(coutil.system.time(), float)
    coutil.spawn.call(print, 1)
    with coutil.scopes.timeout(1), coutil.debug.Trace(), coutil.mutex.held("m"):
        coutil.system.suspend(1)
    coutil.hooks.install(coutil.hooks.Hooks())
    coutil.sytem.suspend(1)  # error: misspelt
    coutil.system.suspent(1)  # error: misspelt
    coutil.hooks.install(1)  # error: no hooks
