"""The first program of luv's first readme: only the syntax is another.

    python examples/uv_readme.py

A timer, its handler, and a loop to run it in: everything else is made of the same parts.
"""

import argparse

from coutil import uv

argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()

# Create a new event loop
loop = uv.new_loop()
# Create a timer in that loop
timer = uv.new_timer(loop)


def ontimeout(timer):
    """Register an event handler; event handlers run in a new coroutine."""
    print("Timeout!")
    # uv.close will block this coroutine and wait for uv_close's callback
    uv.close(timer)


timer.ontimeout = ontimeout
# Start a one-shot timer
uv.timer_start(timer, 1000, 0)
print("Starting a timer")

# Start the event loop blocking the main thread.
uv.run(loop)

# Clean up the loop
uv.loop_close(loop)
