"""Whether others' grammars accept what was de-identified, exactly where they accepted the original: two of X12, one of HL7v2."""

import contextlib
import io
import logging
import os
import threading

import pyx12.params
import pyx12.x12n_document
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.parser import parse_message
from x12sdk.io import X12ModelReader

# How often each grammar accepted an original. One that accepts none has checked nothing.
accepted = {"pyx12": 0, "x12sdk": 0, "hl7apy": 0}
# They are not made for several threads.
LOCK = threading.Lock()


def pyx12_accepts(path) -> bool:
    """The implementation guides that pyx12 has the maps of: 837, 835, 277."""
    logging.disable(logging.CRITICAL)
    try:
        parameters = pyx12.params.params()
        return bool(pyx12.x12n_document.x12n_document(parameters, str(path), None, None, None))
    finally:
        logging.disable(logging.NOTSET)


def x12sdk_accepts(path) -> bool:
    """The models of x12sdk: 837, 835, 270, 271, 276, 277."""
    with X12ModelReader(str(path)) as reader:
        return bool(list(reader.models()))


def hl7apy_accepts(path) -> bool:
    """The structures of messages that hl7apy knows, by the version in MSH-12."""
    text = path.read_bytes().decode("utf-8").replace("\r\n", "\r").replace("\n", "\r").strip("\r") + "\r"
    message = parse_message(text, validation_level=VALIDATION_LEVEL.TOLERANT)
    return len(message.children) > 1


GRAMMARS = {
    "x12": {"pyx12": pyx12_accepts, "x12sdk": x12sdk_accepts},
    "hl7": {"hl7apy": hl7apy_accepts},
}


def verdict(accepts, path) -> bool:
    """Whether a grammar accepts a file; what it throws says that it does not."""
    try:
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere), contextlib.redirect_stdout(io.StringIO()):
            return accepts(path)
    except Exception:  # whatever it throws is a no
        return False


def problems(kind, original_path, path):
    """The grammars that accepted the original and not what was made of it."""
    with LOCK:
        for name, accepts in GRAMMARS.get(kind, {}).items():
            if not verdict(accepts, original_path):
                continue
            accepted[name] += 1
            if not verdict(accepts, path):
                yield f"{name} accepted the original and does not accept this"


def unnoticed():
    """The grammars that accepted no original at all."""
    return [f"{name} accepted no original" for name, number in accepted.items() if number == 0]
