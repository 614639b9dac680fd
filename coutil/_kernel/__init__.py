"""The hub, which turns the loop and wakes coroutines; their operations, and the objects that they wait for."""
