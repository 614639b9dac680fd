"""L1: coroutines, their operations, the objects they wait for, and the hub that wakes them."""
