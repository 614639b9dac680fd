"""The hub, which turns the loop and wakes coroutines; their operations, and the objects that they wait for.

This file is the door: the layers above (`scopes`, `sync`, `system`, `uv`, `testing`, `debug`) import from here, and not
from the files of this folder.

- A call that waits for libuv: `Operation`, `current_operation` and its variants, `spend_budget`, `checkpoint`.
- An object of libuv, with data that come without a wait: `KernelHandle`; a stream: the functions of `stream_requests`.
- A source that wakes coroutines by itself: `CompletionHandler` in a slot of the hub; `ReadyItem`, `Callback` and
  `Wakeup` in its ready queue.
- An end that several coroutines wait for: `Completion`.
- A loop: `Hub`, `current_hub`, `hub_for`.

What they use of the objects that they get here is listed in tests/test_architecture.py.
"""

from .completion import Completion
from .dispatcher import COOP_BUDGET
from .handle import INVALID_SLOT, KernelHandle
from .hub import POLL_WITHOUT_WAITING, Hub, current_hub, hub_for
from .operation import (
    Operation,
    checkpoint,
    continuation_operation,
    current_operation,
    current_operation_in,
    spend_budget,
)
from .slots import NULL_HANDLER, Callback, CompletionHandler, ReadyItem, Wakeup
from .stream_requests import (
    DEFAULT_READ_SIZE,
    MAX_READ,
    add_address_to_error,
    handle_call,
    handle_request,
    pop_pending_data,
    run_request,
    wait_for_connection,
    write_remaining,
    write_starter,
)
from .wakers import ignore_threads, ignored, outermost_frame

__all__ = [
    "COOP_BUDGET",
    "DEFAULT_READ_SIZE",
    "INVALID_SLOT",
    "MAX_READ",
    "NULL_HANDLER",
    "POLL_WITHOUT_WAITING",
    "Callback",
    "Completion",
    "CompletionHandler",
    "Hub",
    "KernelHandle",
    "Operation",
    "ReadyItem",
    "Wakeup",
    "add_address_to_error",
    "checkpoint",
    "continuation_operation",
    "current_hub",
    "current_operation",
    "current_operation_in",
    "handle_call",
    "handle_request",
    "hub_for",
    "ignore_threads",
    "ignored",
    "outermost_frame",
    "pop_pending_data",
    "run_request",
    "spend_budget",
    "wait_for_connection",
    "write_remaining",
    "write_starter",
]
