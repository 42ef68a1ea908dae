"""Lays the files of the installed packages out as `files/<flow>/<package>/<path>`.

The first directory is the kind of file and decides the content type that it is published with; the rest of the path says
where it comes from and is its name in `expected.tsv`.
"""

import shutil
import sys
from pathlib import Path

# Beside DICOM files the packages have descriptions, dumps and an archive.
NOT_DICOM = {".py", ".pyc", ".json", ".txt", ".md", ".dump", ".gz", ".icc"}


def is_dicom(path: Path) -> bool:
    """A file that its package means as DICOM: some of them lack the preamble, some a suffix."""
    return path.suffix not in NOT_DICOM and path.name != "README"


def sources(base: Path):
    """Kind, package, directory and what to take of it."""
    data = base / "python" / "pydicom" / "data"
    for part in ("test_files", "charset_files", "palettes"):
        yield "dicom", f"pydicom/{part}", data / part, is_dicom
    yield "dicom", "pydicom-data", base / "python" / "data_store" / "data", is_dicom
    samples = base / "npm" / "package" / "test" / "samples"
    yield "hl7", "simple-hl7", samples, lambda path: path.suffix == ".hl7"
    yield "x12", "badx12", base / "badx12" / "tests" / "files", lambda path: path.suffix == ".edi"
    # The same objects again, to be changed by rules, and telemetry of our own to become FHIR, of which nobody publishes any.
    yield "morph", "pydicom", data / "test_files", is_dicom
    yield "telemetry", "own", Path(__file__).parent / "telemetry", lambda path: path.suffix == ".json"


def main() -> None:
    base = Path(sys.argv[1])
    files = base / "files"
    shutil.rmtree(files, ignore_errors=True)
    for kind, package, directory, wanted in sources(base):
        found = sorted(path for path in directory.rglob("*") if path.is_file() and wanted(path))
        if not found:
            sys.exit(f"no files in {directory}")
        for path in found:
            target = files / kind / package / path.relative_to(directory)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        print(f"{len(found):4} files of {package}")


if __name__ == "__main__":
    main()
