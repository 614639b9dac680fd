"""What each contender does for the micro benchmarks. A process imports one of these modules, see worker.py.

A contender decorates functions with benchmarks of suite.py, and has `metered`, which runs such a function.
"""
