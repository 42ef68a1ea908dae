"""Whether a de-identified DICOM object is as valid as it was: what `dciodvfy` of dicom3tools says of it and of the original."""

import re
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

import pydicom
from pydicom.uid import DeflatedExplicitVRLittleEndian

# It does not read deflated objects.
UNREADABLE = "Error - Dicom dataset read failed"


def errors(path: Path) -> Counter:
    """The errors that it finds, without the unique identifiers that it cites."""
    found = subprocess.run(["dciodvfy", str(path)], capture_output=True, check=False, timeout=120)
    lines = (found.stdout + found.stderr).decode(errors="replace").splitlines()
    cited = re.compile(r" <[0-9.]*>")
    return Counter(cited.sub("", line.strip()) for line in lines if line.startswith("Error"))


def inflated(path: Path, to: Path) -> Path:
    """An object of which the data set is not deflated."""
    dataset = pydicom.dcmread(path, force=True)
    if getattr(dataset, "file_meta", {}).get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return path
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    dataset.save_as(to)
    return to


def problems(original: Path, made: Path):
    """Errors that the original does not have."""
    found = errors(made)
    if not found:
        return
    if UNREADABLE in found:
        yield "dciodvfy does not read it"
    with tempfile.TemporaryDirectory() as directory:
        before = errors(inflated(original, Path(directory) / "inflated.dcm"))
    for error in found:
        if error not in before and error != UNREADABLE:
            yield f"dciodvfy finds what it did not find before: {error}"
