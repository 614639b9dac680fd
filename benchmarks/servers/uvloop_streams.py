"""Echo server on uvloop: the program of asyncio_streams.py, on uvloop's event loop."""

import sys

import uvloop
from asyncio_streams import serve  # type: ignore[import-not-found]  # beside this script

if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1]))
