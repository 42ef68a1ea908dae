"""Masks in the pixels of files that others made: what the plugin `deidentify` writes is decoded by others and held against the original.

Of codecs that few files are in, more are made: of each kind of pixels that is not compressed, by the encoders of others.

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
from pydicom.encaps import generate_frames
from pydicom.errors import InvalidDicomError
from pydicom.pixels import pixel_array
from pydicom.uid import (
    ExplicitVRBigEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

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
# Octets of pixels that are compressed by other encoders.
RECOMPRESSED_MAX = 1_500_000
JPEG_LS = {JPEGLSLossless, JPEGLSNearLossless}
CODECS = {
    RLELossless: "masked in RLE",
    **dict.fromkeys(JPEG_LOSSLESS, "masked in JPEG Lossless"),
    **dict.fromkeys(JPEG_LS, "masked in JPEG-LS"),
    JPEG2000Lossless: "masked in JPEG 2000",
    JPEGBaseline8Bit: "masked in baseline JPEG",
}
# What files may be refused for whatever their pixels are.
MALFORMED = {"not-part-10", "no-transfer-syntax", "unknown-vr", "truncated", "tag-order", "incomplete-object", "length-past-end"}
MALFORMED |= {"media-directory", "unsupported-transfer-syntax", "malformed-uid", "undefined-length", "value-too-long", "misplaced-tag"}

# Files that are refused for what their pixels are, though they are not compressed or in a codec that is masked.
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
    # They were compressed with loss.
    "JPEGLSNearLossless_08.dcm": "pixels-not-maskable",
    "JPEGLSNearLossless_16.dcm": "pixels-not-maskable",
    "SC_rgb_jls_lossy_line.dcm": "pixels-not-maskable",
    "SC_rgb_jls_lossy_sample.dcm": "pixels-not-maskable",
    # A file of its own in the place of a codestream (PS3.5 A.4.4).
    "GDCMJ2K_TextGBR.dcm": "malformed-jpeg-2000",
    # Radiographs with more samples than are held of JPEG 2000.
    "RG1_J2KR.dcm": "malformed-jpeg-2000",
    "RG3_J2KR.dcm": "malformed-jpeg-2000",
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


def unit(dataset):
    """Columns and rows that are covered together: where chroma is shared, and the blocks of JPEG."""
    if dataset.file_meta.get("TransferSyntaxUID") == JPEGBaseline8Bit:
        frame = next(generate_frames(dataset.PixelData, number_of_frames=int(dataset.get("NumberOfFrames") or 1)))
        header = frame[frame.index(b"\xff\xc0") + 4 :]
        sizes = header[7 : 7 + 3 * header[5] : 3] if header[5] == 3 else [0x11]
        return 8 * max(size >> 4 for size in sizes), 8 * max(size & 15 for size in sizes)
    return (2 if dataset.PhotometricInterpretation == "YBR_FULL_422" else 1), 1


def covered(dataset, beyond=0):
    """Which pixels the rectangles cover, and so many pixels beside them."""
    mask = numpy.zeros((dataset.Rows, dataset.Columns), bool)
    wide, high = unit(dataset)
    for left, top, width, height in RECTANGLES:
        right, bottom = -(-(left + width) // wide) * wide, -(-(top + height) // high) * high
        left, top = left // wide * wide, top // high * high
        mask[max(top - beyond, 0) : bottom + beyond, max(left - beyond, 0) : right + beyond] = True
    return mask


def inner(mask, by):
    """What of a mask is so many pixels away from what is not in it."""
    rows, columns = mask.shape
    wide = numpy.pad(mask, by, mode="edge")
    steps = range(2 * by + 1)
    return numpy.logical_and.reduce([wide[y : y + rows, x : x + columns] for y in steps for x in steps])


def fill(dataset):
    """The value of each sample of a masked pixel."""
    if dataset.SamplesPerPixel == 1:
        return 0
    has_chroma = dataset.PhotometricInterpretation.startswith("YBR_FULL")
    chroma = 1 << (dataset.BitsStored - 1) if has_chroma else 0
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
        yield by_dcmtk(path, "dcmdjpeg", "--conv-never")
    elif syntax in JPEG_LS:
        # CharLS, and what DCMTK has of its own.
        yield pixel_array(dataset, raw=True, decoding_plugin="pyjpegls")
        yield by_dcmtk(path, "dcmdjpls", "--planar-auto")
    elif syntax == JPEG2000Lossless:
        # OpenJPEG, twice; Pillow does not decode colours of 16 bits.
        for decoder in ("pylibjpeg",) if dataset.SamplesPerPixel > 1 and dataset.BitsStored > 8 else ("pylibjpeg", "pillow"):
            yield pixel_array(dataset, raw=True, decoding_plugin=decoder)
    elif syntax == JPEGBaseline8Bit:
        yield by_dcmtk(path, "dcmdjpeg", "--conv-never")
    else:
        yield pixel_array(dataset, raw=True)


def by_dcmtk(path: Path, *command):
    """The samples of a file, by a program of DCMTK; none if it cannot read it."""
    with tempfile.NamedTemporaryFile(suffix=".dcm") as plain:
        if subprocess.run([*command, str(path), plain.name], capture_output=True, check=False).returncode != 0:
            return None
        return pixel_array(pydicom.dcmread(plain.name), raw=True)


def problems(original_path: Path, made_path: Path):
    """What is wrong with an output."""
    original, made = pydicom.dcmread(original_path, force=True), pydicom.dcmread(made_path)
    codes = [item.CodeValue for item in made.DeidentificationMethodCodeSequence]
    if codes != ["113100", "113101"] or made.BurnedInAnnotation != "NO":
        yield f"it says {codes} and {made.BurnedInAnnotation}"
    is_coarse = original.file_meta.TransferSyntaxUID == JPEGBaseline8Bit
    # Where colours are coarser than pixels, decoders mix them at the edges of blocks.
    is_mixed = is_coarse and unit(original) != (8, 8)
    mask, beyond = covered(original), covered(original, beyond=2 if is_mixed else 0)
    within = inner(mask, by=2) if is_mixed else mask
    shape = (int(original.get("NumberOfFrames") or 1), *mask.shape, -1)
    for before, after in zip(decoded(original_path), decoded(made_path), strict=True):
        if before is None:
            # DCMTK does not read all that it writes: colours of 16 bits in scans of their own.
            continue
        if after is None:
            yield "DCMTK cannot decode it, though it could before"
            continue
        before, after = before.reshape(shape), after.reshape(shape)
        if (before[:, ~beyond] != after[:, ~beyond]).any():
            yield "a sample outside of the rectangles is another"
        if is_coarse:
            # Luma or red is dark; the others are too, or say that there is no colour.
            flat = after[:, within]
            if (flat != flat[:, :1]).any() or (flat[..., 0] > 2).any():
                yield "a sample inside of a rectangle is not the fill"
        elif (after[:, mask] != fill(original)).any():
            yield "a sample inside of a rectangle is not the fill"
    if original.file_meta.TransferSyntaxUID in NATIVE and len(original.PixelData) // 2 != len(made.PixelData) // 2:
        yield "the pixels have another length"


def is_large_enough(dataset) -> bool:
    return all(left + width <= dataset.Columns and top + height <= dataset.Rows for left, top, width, height in RECTANGLES)


def kind(dataset):
    """What pixels are like, if they are not compressed and few."""
    is_little = dataset.file_meta.get("TransferSyntaxUID") in NATIVE - {ExplicitVRBigEndian}
    if not is_little or "Rows" not in dataset or len(dataset.get("PixelData", "")) not in range(1, RECOMPRESSED_MAX):
        return None
    names = ("BitsAllocated", "BitsStored", "PixelRepresentation", "SamplesPerPixel", "PhotometricInterpretation")
    return (*(str(dataset.get(name)) for name in names), str(dataset.get("NumberOfFrames", 1)) != "1")


def recompressed(directory: Path, into: Path) -> None:
    """Compresses a file of each kind of pixels by each encoder that takes it."""
    seen = {None}
    for file in sorted(path for path in directory.rglob("*") if path.is_file()):
        try:
            dataset = pydicom.dcmread(file)
        except InvalidDicomError:
            continue
        if kind(dataset) in seen or not is_large_enough(dataset):
            continue
        seen.add(kind(dataset))
        for mode in ("+il", "+is", "+in") if dataset.SamplesPerPixel == 3 else ("+il",):
            # Some kinds are not for JPEG-LS, such as single bits.
            command = ["dcmcjpls", mode, str(file), str(into / f"{file.stem}{mode}.dcm")]
            subprocess.run(command, capture_output=True, check=False)
        if dataset.PhotometricInterpretation == "RGB":
            dataset.PhotometricInterpretation = "YBR_RCT"
        try:
            dataset.compress(JPEG2000Lossless, encoding_plugin="pylibjpeg", generate_instance_uid=False)
        except (ValueError, RuntimeError):
            # Nor are they for JPEG 2000.
            continue
        dataset.save_as(into / f"{file.stem}-2000.dcm")


def complaints(hilum: str, directory: Path, counts: Counter):
    """Everything that must not be, of all files below a directory."""
    with tempfile.TemporaryDirectory() as temporary:
        config, made, more = (Path(temporary, name) for name in ("config.json", "made.dcm", "recompressed"))
        config.write_text(json.dumps(CONFIG))
        more.mkdir()
        recompressed(directory, more)
        for file in sorted(path for place in (directory, more) for path in place.rglob("*") if path.is_file()):
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
