"""Whether a de-identified HL7v2 message or X12 interchange still has its structure and nothing that names the patient.

Split by hand on the delimiters that the message itself declares: the samples are small, and a reader that repairs what it
reads would hide faults.
"""

import re

# Shorter values, such as a sex or a set number, identify nobody and turn up by chance.
LENGTH_MIN = 4


def hl7_segments(message: bytes):
    """Segments as lists of fields."""
    text = message.decode("utf-8", errors="replace")
    lines = [line for line in re.split(r"[\r\n]+", text) if line]
    return [line.split("|") for line in lines]


def hl7_problems(original: bytes, made: bytes):
    """PID-3, -5, -7, -11, -13 and -19 and NK1-2, -4 and -5 name the patient and the next of kin (HL7 2.5, chapter 3)."""
    before, after = hl7_segments(original), hl7_segments(made)
    if not after or after[0][0] != "MSH":
        yield "the message does not start with MSH"
        return
    if before[0][8] != after[0][8]:
        yield "MSH-9, the type of message, is another"
    left = {part for segment in after for field in segment for part in re.split(r"[\^~&]", field)}
    for segment in before:
        for position in {"PID": (3, 5, 7, 11, 13, 19), "NK1": (2, 4, 5)}.get(segment[0], ()):
            field = segment[position] if position < len(segment) else ""
            # The last components of identifiers and addresses name authorities, types and countries.
            for part in re.split(r"[\^~&]", field)[:2]:
                if len(part) >= LENGTH_MIN and part in left:
                    yield f"{segment[0]}-{position} still has an original value"


def x12_segments(interchange: bytes):
    """Segments as lists of elements; the separators are at fixed places of ISA (X12.5)."""
    text = interchange.decode("utf-8", errors="replace").lstrip()
    if not text.startswith("ISA") or len(text) < 106:
        return []
    separator, terminator = text[3], text[105]
    return [segment.strip().split(separator) for segment in text.split(terminator) if segment.strip()]


def x12_problems(original: bytes, made: bytes):
    """NM1 of the patient, the subscriber and the insured (IL, QC, 74), with the address and birth date that follow."""
    before, after = x12_segments(original), x12_segments(made)
    if not before:
        yield "delivered, though it is not an interchange"
        return
    yield from count_problems(after)
    # NTE is free text and may be left out.
    before, after = ([segment for segment in side if segment[0] != "NTE"] for side in (before, after))
    if [segment[0] for segment in before] != [segment[0] for segment in after]:
        yield "the segments are others"
        return
    about_patient = False
    for number, (old, new) in enumerate(zip(before, after), start=1):
        if old[0] == "NM1":
            about_patient = old[1] in ("IL", "QC", "74")
        elif old[0] in ("HL", "CLM", "LX", "SE"):
            about_patient = False
        positions = {"NM1": (3, 4, 5, 9), "N3": (1, 2), "DMG": (2,), "PER": (4,)}.get(old[0], ()) if about_patient else ()
        for position in positions:
            if position < min(len(old), len(new)) and len(old[position]) >= LENGTH_MIN and old[position] == new[position]:
                yield f"segment {number}, {old[0]}{position:02} still has its original value"


def count_problems(segments):
    """SE01 counts the segments of its transaction set, ST and SE included (X12.6)."""
    start = 0
    for number, segment in enumerate(segments):
        if segment[0] == "ST":
            start = number
        elif segment[0] == "SE" and int(segment[1]) != number - start + 1:
            yield f"segment {number + 1}, SE01 counts {segment[1]} segments, there are {number - start + 1}"
