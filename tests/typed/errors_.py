"""Each error is a class that checkers know, with the builtin one that it also is."""

from socket import gaierror
from typing import assert_type

from coutil import errors


def caught() -> int:
    try:
        return 1
    except errors.ENOENT as error:
        assert_type(error, errors.ENOENT)
        assert_type(error.syscall, str)
        missing: FileNotFoundError = error
        return missing.errno or 0
    except (errors.ECONNREFUSED, errors.EPIPE) as error:
        assert_type(error.code, int)
        refused: ConnectionError = error
        return refused.errno or 0
    except errors.EAI_NONAME as error:
        unknown: gaierror = error
        return unknown.errno or 0
    except errors.ECANCELED as error:
        assert_type(error, errors.OperationCancelled)
        return error.code


def misspelt() -> type[BaseException]:
    return errors.ENOENTRY  # error: no such class


def refused() -> FileNotFoundError:
    return errors.EPERM()  # error: another one
