"""Tells where the plugin failed, before its instance is gone: files, lines and the kind of exception, and never its message, which
may hold a value of a record."""

import functools

from componentize_py_types import Err
from wit_world.imports import log

FRAMES_MAX = 3


def told(function):
    """For every function that Hilum calls. What the contract lets it raise, an `Err`, is no failure."""

    @functools.wraps(function)
    def telling(*arguments):
        try:
            return function(*arguments)
        except Err:
            raise
        except Exception as failure:
            try:
                # Hilum takes a line that begins so as the reason of the failure.
                log.log(log.Level.ERROR, f"the plugin panicked at {place(failure)} ({type(failure).__name__})")
            finally:
                raise failure

    return telling


def place(failure):
    frames, frame = [], failure.__traceback__.tb_next
    while frame:
        frames.append(f"{frame.tb_frame.f_code.co_filename.rpartition('/')[2]}:{frame.tb_lineno}")
        frame = frame.tb_next
    return " > ".join(frames[-FRAMES_MAX:])
