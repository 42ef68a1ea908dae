"""Lays the files of the installed packages out as `files/<flow>/<package>/<path>`.

The first directory is the kind of file and decides the content type that it is published with; the rest of the path says
where it comes from and is its name in `expected.tsv`.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

# How many resources of each type are taken.
RESOURCES_OF_A_TYPE = 2

# Beside DICOM files the packages have descriptions, dumps and an archive.
NOT_DICOM = {".py", ".pyc", ".json", ".txt", ".md", ".dump", ".gz", ".icc"}


def is_dicom(path: Path) -> bool:
    """A file that its package means as DICOM: some of them lack the preamble, some a suffix."""
    return path.suffix not in NOT_DICOM and path.name != "README"


def simulated(base: Path) -> Path:
    """FHIR resources of patients who do not exist, one in a file; the seed makes them the same each time."""
    packages, simulation, resources = (base / name for name in ("clinosim", "clinosim-simulation", "clinosim-resources"))
    for directory in (simulation, resources):
        shutil.rmtree(directory, ignore_errors=True)
    resources.mkdir()
    arguments = ["simulate", "-o", str(simulation), "-p", "20", "-s", "1", "--country", "US", "--format", "fhir-r4"]
    environment = {**os.environ, "PYTHONPATH": str(packages), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, str(packages / "bin" / "clinosim"), *arguments]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    for found in sorted((simulation / "fhir_r4").glob("[A-Z]*.ndjson")):
        lines = found.read_text().splitlines()[:RESOURCES_OF_A_TYPE]
        for number, line in enumerate(lines, start=1):
            (resources / f"{found.stem}-{number}.json").write_text(line)
    return resources


def sources(base: Path):
    """Kind, package, directory and what to take of it."""
    data = base / "python" / "pydicom" / "data"
    for part in ("test_files", "charset_files", "palettes"):
        yield "dicom", f"pydicom/{part}", data / part, is_dicom
    yield "dicom", "pydicom-data", base / "python" / "data_store" / "data", is_dicom
    samples = base / "npm" / "package" / "test" / "samples"
    yield "hl7", "simple-hl7", samples, lambda path: path.suffix == ".hl7"
    yield "x12", "badx12", base / "badx12" / "tests" / "files", lambda path: path.suffix == ".edi"
    yield "fhir", "clinosim", simulated(base), lambda path: path.suffix == ".json"
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
