"""Coroutines over greenlets: how they run, suspend and end. Needs no libuv."""
