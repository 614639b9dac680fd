"""The one part of the build that pyproject.toml cannot say: where cffi finds the extension."""

from setuptools import setup

setup(cffi_modules=["coutil/_libuv/build.py:ffibuilder"])
