"""Masks in the pixels of files that others made: what the plugin `deidentify` writes is decoded by others and held against the original.

Each file of a package goes through the real sandbox with one rule that covers two rectangles. If the plugin delivers it, every
sample outside of them has to be what it was, every one inside has to be the fill, and the object has to say that its pixels were cleaned.
If it refuses it, that has to be for a reason that is expected: for what the pixels are, not for a mistake.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path

import numpy
import pydicom
from pydicom.pixels import pixel_array
from pydicom.uid import JPEGLossless, JPEGLosslessSV1, RLELossless

# Left, top, width, height: inside of each file that is large enough.
RECTANGLES = [(0, 0, 9, 2), (2, 1, 8, 7)]
RULES = "# Hilum pixel rules\naction\nmask " + " ".join(",".join(map(str, one)) for one in RECTANGLES) + "\n"
CONFIG = {
    "options": ["clean-pixel-data"],
    "pixel_rules": RULES,
    "recognizable_faces": "accepted",
    "private_sop_classes": "unknown",
    # The rule says that there is no other text; whether there is, others test.
    "text_detector": "off",
}
NATIVE = {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"}
JPEG_LOSSLESS = {JPEGLossless, JPEGLosslessSV1}
CODECS = {RLELossless: "masked in RLE", JPEGLossless: "masked in JPEG Lossless", JPEGLosslessSV1: "masked in JPEG Lossless"}
# What files may be refused for whatever their pixels are.
MALFORMED = {"not-part-10", "no-transfer-syntax", "unknown-vr", "truncated", "tag-order", "incomplete-object", "length-past-end"}
MALFORMED |= {"media-directory", "unsupported-transfer-syntax", "malformed-uid", "undefined-length", "value-too-long", "misplaced-tag"}

# Files that are refused for what their pixels are, though they are not compressed.
UNMASKABLE = {
    # More octets than its frame has.
    "MR_small_padded.dcm": "wrong-length",
    # Its Number of Frames is no number.
    "badVR.dcm": "pixels-not-maskable",
    # It has no rows.
    "nested_priv_SQ.dcm": "pixels-not-cleaned",
    # Two pixels are a word of big endian, and a rectangle begins between them.
    "OBXXXX1A_expb.dcm": "pixels-not-maskable",
    "OBXXXX1A_expb_2frame.dcm": "pixels-not-maskable",
}


def run(hilum: str, config: Path, file: Path):
    """The output of the plugin, or the code of its refusal."""
    command = [hilum, "plugin", "run", "deidentify", "--config", str(config), "--content-type", "application/dicom"]
    with file.open("rb") as body:
        done = subprocess.run(command, stdin=body, capture_output=True, check=False)
    if done.returncode == 0:
        return done.stdout, None
    if done.returncode != 3:
        sys.exit(f"{file}: exit code {done.returncode}: {done.stderr.decode()}")
    said = re.search(r"^refused: .*\(([a-z0-9-]+)\)$", done.stderr.decode(), re.MULTILINE)
    return None, said.group(1) if said else "without a code"


def covered(dataset):
    """Which pixels the rectangles cover; with shared chroma, of each pair both."""
    mask = numpy.zeros((dataset.Rows, dataset.Columns), bool)
    step = 2 if dataset.PhotometricInterpretation == "YBR_FULL_422" else 1
    for left, top, width, height in RECTANGLES:
        right = -(-(left + width) // step) * step
        mask[top : top + height, left // step * step : right] = True
    return mask


def fill(dataset):
    """The value of each sample of a masked pixel."""
    if dataset.SamplesPerPixel == 1:
        return 0
    chroma = 1 << (dataset.BitsStored - 1) if "YBR" in dataset.PhotometricInterpretation else 0
    return numpy.array([0, chroma, chroma])


def decoded(path: Path):
    """The samples of a file, by each decoder that there is for them."""
    dataset = pydicom.dcmread(path, force=True)
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax == RLELossless:
        for decoder in ("pydicom", "pylibjpeg"):
            yield pixel_array(dataset, raw=True, decoding_plugin=decoder)
    elif syntax in JPEG_LOSSLESS:
        # DCMTK leaves colours as they are coded.
        with tempfile.NamedTemporaryFile(suffix=".dcm") as plain:
            subprocess.run(["dcmdjpeg", "--conv-never", str(path), plain.name], check=True)
            yield pixel_array(pydicom.dcmread(plain.name), raw=True)
    else:
        yield pixel_array(dataset, raw=True)


def problems(original_path: Path, made_path: Path):
    """What is wrong with an output."""
    original, made = pydicom.dcmread(original_path, force=True), pydicom.dcmread(made_path)
    codes = [item.CodeValue for item in made.DeidentificationMethodCodeSequence]
    if codes != ["113100", "113101"] or made.BurnedInAnnotation != "NO":
        yield f"it says {codes} and {made.BurnedInAnnotation}"
    mask = covered(original)
    shape = (int(original.get("NumberOfFrames") or 1), *mask.shape, -1)
    before = next(decoded(original_path)).reshape(shape)
    for after in decoded(made_path):
        after = after.reshape(shape)
        if (before[:, ~mask] != after[:, ~mask]).any():
            yield "a sample outside of the rectangles is another"
        if (after[:, mask] != fill(original)).any():
            yield "a sample inside of a rectangle is not the fill"
    if original.file_meta.TransferSyntaxUID in NATIVE and len(original.PixelData) // 2 != len(made.PixelData) // 2:
        yield "the pixels have another length"


def is_large_enough(dataset) -> bool:
    return all(left + width <= dataset.Columns and top + height <= dataset.Rows for left, top, width, height in RECTANGLES)


def complaints(hilum: str, directory: Path, counts: Counter):
    """Everything that must not be, of all files below a directory."""
    with tempfile.TemporaryDirectory() as temporary:
        config, made = Path(temporary, "config.json"), Path(temporary, "made.dcm")
        config.write_text(json.dumps(CONFIG))
        for file in sorted(path for path in directory.rglob("*") if path.is_file()):
            octets, code = run(hilum, config, file)
            if octets is not None:
                made.write_bytes(octets)
                dataset = pydicom.dcmread(made)
                if "PixelData" not in dataset:
                    counts["without pixels"] += 1
                    continue
                counts[CODECS.get(dataset.file_meta.TransferSyntaxUID, "masked")] += 1
                yield from (f"{file}: {problem}" for problem in problems(file, made))
                continue
            counts[f"refused: {code}"] += 1
            if code in MALFORMED or UNMASKABLE.get(file.name) == code:
                continue
            dataset = pydicom.dcmread(file, force=True)
            syntax = dataset.file_meta.get("TransferSyntaxUID")
            if syntax in NATIVE or syntax in CODECS:
                if code == "pixels-not-maskable" and ("PixelData" not in dataset or not is_large_enough(dataset)):
                    continue
                yield f"{file}: refused as {code}, though its pixels can be masked"
            elif code not in ("pixels-not-maskable", "pixels-not-cleaned"):
                yield f"{file}: refused as {code}, though its pixels are compressed"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hilum", required=True)
    parser.add_argument("--files", type=Path, required=True)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE

    counts = Counter()
    found = list(complaints(arguments.hilum, arguments.files, counts))
    for name, count in sorted(counts.items()):
        print(f"{count:5} {name}")
    for line in found:
        print(line)
    if found:
        sys.exit(f"{len(found)} complaints")
    if missing := {"masked", *CODECS.values()} - counts.keys():
        sys.exit(f"no file was {missing}")
    print("all masks are exact")


if __name__ == "__main__":
    main()
