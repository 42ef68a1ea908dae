"""Looks at what became of each third-party file: was it expected, and is what was delivered sound and de-identified?

Every file has one line in `outcomes.tsv` (path, `delivered` or `refused` or `failed`, code, reason). `failed` means that a
plugin crashed or ran into a limit, which no file may cause. A delivered DICOM file must open in pydicom and in DCMTK's
`dcmdump`, say that it is de-identified, and have lost what identified the patient; and `dciodvfy` may find no error in it that it did
not find in the file. What went through an example plugin is looked at
in `examples.py`.
"""

import argparse
import subprocess
import sys
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import examples
import fhir_resources
import grammars
import hl7_and_x12
import iods
import numpy
import pydicom
from pydicom.uid import UID

# Identifiers shorter than this turn up by chance, e.g. a patient's ID of `1`.
IDENTIFIER_LENGTH_MIN = 4
# Attributes whose original value must be nowhere in the output.
IDENTIFYING = ["PatientName", "PatientID", "PatientBirthDate", "AccessionNumber", "OtherPatientIDs", "ReferringPhysicianName"]
INSTANCE_UIDS = ["SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"]


def texts(dataset):
    """Every value of every element at every depth, as text."""
    found = set()
    for element in dataset.iterall():
        if element.VR == "SQ" or isinstance(element.value, bytes):
            continue
        values = element.value if element.VM > 1 else [element.value]
        found.update(str(value).strip() for value in values)
    return found


def identifiers(original):
    """What of the original must not be found again."""
    for keyword in IDENTIFYING:
        for element in original.iterall():
            if element.keyword == keyword and len(text := str(element.value).strip()) >= IDENTIFIER_LENGTH_MIN:
                yield keyword, text
    for keyword in INSTANCE_UIDS:
        uid = str(original.get(keyword, ""))
        # The standard's own frames of reference identify nobody.
        if uid and not UID(uid).name != uid:
            yield keyword, uid


def dicom_problems(original_path: Path, path: Path):
    """What is wrong with a de-identified DICOM file."""
    dump = subprocess.run(["dcmdump", "-q", str(path)], capture_output=True, check=False)
    if dump.returncode != 0:
        yield f"dcmdump does not open it: {dump.stderr.decode(errors='replace').strip()[:200]}"
    try:
        made = pydicom.dcmread(path)
        found = texts(made)
    except Exception as error:  # whatever the reader throws is the finding
        yield f"pydicom does not open it: {error}"
        return
    if made.get("PatientIdentityRemoved") != "YES":
        yield "(0012,0062) Patient Identity Removed is not YES"
    codes = [item.get("CodeValue") for item in made.get("DeidentificationMethodCodeSequence", [])]
    if "113100" not in codes:
        yield f"(0012,0064) lacks 113100, the Basic Application Confidentiality Profile: {codes}"
    if "DeidentificationMethod" not in made:
        yield "(0012,0063) De-identification Method is missing"
    private = [str(element.tag) for element in made.iterall() if element.tag.is_private]
    if private:
        yield f"private elements: {private[:5]}"
    original = pydicom.dcmread(original_path, force=True)
    for keyword, value in identifiers(original):
        if value in found:
            yield f"the original {keyword} is still there"
    yield from pixel_problems(original, made)
    yield from iods.problems(original_path, path)


def pixel_problems(original, made):
    """De-identification leaves the image as it was, but for comments in its frames."""
    if "PixelData" not in original:
        return
    if "PixelData" not in made:
        yield "the pixel data is gone"
    elif transfer_syntax(made) == transfer_syntax(original) and made.PixelData != original.PixelData:
        if not transfer_syntax(made).is_compressed or not is_blanked(original.PixelData, made.PixelData):
            yield "the pixel data is another"
        elif (problem := decoded_differently(original, made)) is not None:
            yield problem


def is_blanked(before: bytes, after: bytes) -> bool:
    """Whether nothing but blanks and zeros stand where octets are others."""
    return len(before) == len(after) and all(one == other or other in b" \0" for one, other in zip(before, after))


def decoded_differently(original, made):
    """What decoders that others wrote say of an image whose comments are overwritten."""
    try:
        before = original.pixel_array
    except Exception:
        # What nobody can decode was not changed in what there is to decode.
        return None
    try:
        return None if numpy.array_equal(before, made.pixel_array) else "the image is another"
    except Exception as error:
        return f"the image cannot be decoded any more: {error}"


def transfer_syntax(dataset):
    """(0002,0010), which files without file meta information lack."""
    return getattr(dataset, "file_meta", {}).get("TransferSyntaxUID")


def problems(relative: str, files: Path, delivered: Path):
    """What is wrong with one delivered file."""
    path = delivered / relative
    if not path.is_file():
        return ["delivered, but not to be found"]
    if relative.startswith("dicom/"):
        return list(dicom_problems(files / relative, path))
    if relative.startswith("morph/"):
        return list(examples.morph_problems(files / relative, path))
    if relative.startswith("telemetry/"):
        return list(examples.fhir_problems(files / relative, path))
    if relative.startswith("fhir/"):
        return list(fhir_resources.problems(files / relative, path))
    check = hl7_and_x12.hl7_problems if relative.startswith("hl7/") else hl7_and_x12.x12_problems
    found = list(check((files / relative).read_bytes(), path.read_bytes()))
    return found + list(grammars.problems(relative.split("/")[0], files / relative, path))


# What goes through an example plugin is counted as that plugin's.
EXAMPLES = {"morph": "dicom-morph", "telemetry": "fhir-observation"}


def source(relative: str) -> str:
    """The package that a file is of, or the example plugin that it went through."""
    kind, package, _ = relative.split("/", 2)
    return EXAMPLES.get(kind, package)


def counts(outcomes):
    """Package to its files, those delivered, and those refused by code."""
    for package in sorted({source(path) for path in outcomes}, key=str.lower):
        of_package = [outcome for path, outcome in outcomes.items() if source(path) == package]
        delivered = sum(word == "delivered" for word, _, _ in of_package)
        yield package, len(of_package), delivered, Counter(code for word, code, _ in of_package if word == "refused")


def print_table(outcomes) -> None:
    """How many files of each package were delivered, and refused for what."""
    print(f"\n{'source':<17}{'files':>6}{'delivered':>11}{'refused':>9}  refused for")
    for package, files, delivered, refusals in counts(outcomes):
        reasons = ", ".join(f"{code} {number}" for code, number in sorted(refusals.items()))
        print(f"{package:<17}{files:>6}{delivered:>11}{refusals.total():>9}  {reasons}")
    print()


def readme_complaints(outcomes, readme: Path):
    """The README states the counts of each package in a table; they must be those of this run."""
    rows = [line for line in readme.read_text().splitlines() if line.startswith("| ")]
    for package, files, delivered, refusals in counts(outcomes):
        stated = f"| {files} | {delivered} | {refusals.total()} |"
        if not any(f" {package} " in row and stated in row for row in rows):
            yield f"{readme}: the row of {package} should say {stated}"


def read_outcomes(path: Path):
    """Path to outcome, code and reason."""
    rows = (line.split("\t") for line in path.read_text().splitlines())
    return {row[0]: (row[1], row[2], row[3]) for row in rows}


def expectation(outcomes) -> str:
    """What `expected.tsv` says: the outcome and the code of each file, but not the wording of the reason."""
    return "".join(f"{path}\t{word}\t{code}\n" for path, (word, code, _) in sorted(outcomes.items()))


def complaints(arguments, outcomes):
    """Everything that must not be."""
    sent = {path.relative_to(arguments.files).as_posix() for path in arguments.files.rglob("*") if path.is_file()}
    for path in sorted(sent ^ outcomes.keys()):
        yield f"{path}: lost: no outcome" if path in sent else f"{path}: an outcome without a file"
    for path, (word, code, reason) in sorted(outcomes.items()):
        if word not in ("delivered", "refused"):
            yield f"{path}: {word}: {code}: {reason}"
        elif word == "refused" and not reason:
            yield f"{path}: refused without a reason"
    delivered = sorted(path for path, (word, _, _) in outcomes.items() if word == "delivered")
    with ThreadPoolExecutor() as pool:
        check = lambda path: problems(path, arguments.files, arguments.delivered)
        for path, found in zip(delivered, pool.map(check, delivered)):
            yield from (f"{path}: {problem}" for problem in found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("files", "delivered", "outcomes", "expected", "readme"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--accept", action="store_true", help="write the outcomes down as what is expected")
    arguments = parser.parse_args()
    # The files are odd on purpose, and pydicom says so at length.
    warnings.simplefilter("ignore")
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE

    outcomes = read_outcomes(arguments.outcomes)
    print_table(outcomes)
    found = list(complaints(arguments, outcomes))
    found += examples.unnoticed()
    found += grammars.unnoticed()
    if arguments.accept:
        arguments.expected.write_text(expectation(outcomes))
    expected = set(arguments.expected.read_text().splitlines())
    actual = set(expectation(outcomes).splitlines())
    found += [f"expected: {line}" for line in sorted(expected - actual)]
    found += [f"but was:  {line}" for line in sorted(actual - expected)]
    found += readme_complaints(outcomes, arguments.readme)
    for line in found:
        print(line)
    if found:
        sys.exit(f"{len(found)} complaints")
    print(f"all {len(outcomes)} files as expected, what was delivered opens and is de-identified, changed or mapped as it should be")


if __name__ == "__main__":
    main()
