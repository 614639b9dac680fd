"""Ours against its peers. `python -m benchmarks` measures everything, see `__main__.py`."""
