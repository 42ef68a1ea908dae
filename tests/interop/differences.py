"""What two other engines make of the DICOM files that plugin `deidentify` was given, attribute by attribute, and why it differs.

Orthanc's `/instances/{id}/anonymize` and Kitware's dicom-anonymizer, the latter with its newest table, get every file that was
delivered. What became of an attribute here and there is compared: kept, left empty, emptied, replaced, removed, added. Each difference
needs one of the reasons below, or the run fails: what nobody can explain is a fault of somebody's. The list is
`plugins/deidentify/DIFFERENCES.md`; `--accept` writes it.
"""

import argparse
import json
import logging
import multiprocessing
import subprocess
import sys
import warnings
from collections import Counter
from pathlib import Path

import pydicom
from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag
from pydicom.uid import UID_dictionary

sys.path.append(str(Path(__file__).parent.parent / "peers"))
from deidentify import Http, Orthanc  # noqa: E402

KITWARE_TABLE = "dicomfields_2026c"
TABLE = Path("plugins/deidentify/data/ps3.15-2026c-table-e.1-1.tsv")
DOCUMENT = Path("plugins/deidentify/DIFFERENCES.md")
# A file with which Orthanc's reader loses its way, and drops what follows.
EMPTY_NUMBERS = "reportsi_with_empty_number_tags.dcm"

# Sequences of which the Basic Profile keeps no more than the module requires.
CLEANED = (0x0040A730, 0x0040A073, 0x00400555)

REASONS = {
    "asked": "PS3.15 2026c asks for what was done here; the engine leaves it, or does something else. Kitware's does not look into sequences, Orthanc's table is that of 2021b.",
    "choice": "The table leaves a choice (X/Z/D). Here the attribute's type in the object's IOD decides: type 3 is removed, type 2 emptied, type 1 replaced. The engine always does the same, and may put a made-up value where the standard allows none or leave out one that the standard requires.",
    "empty": "The file has it without a value or not at all, and there is nothing to hide; the engine makes a value up.",
    "registered": "It is a UID that DICOM itself registers (PS3.6 Annex A): it says nothing of a patient, and a reader has to recognise it.",
    "said": "PS3.15 E.1.1 wants the object to say that, and how, it was de-identified; the engine does not say it, or leaves what another one said.",
    "overlay": "Overlays can show text. Without Clean Graphics, groups 60xx go as a whole (Table E.1-1: X).",
    "cleaned": "Part of a sequence that the table has replaced (D): its items stay, as the module requires some, with codes of published schemes only and nothing of free text. The engine keeps all of it or empties it.",
    "reference": "PS3.15 asks for X/Z/U* of a sequence of references: here it goes where the IOD does not require it; the engine keeps it with new UIDs, or with those that it had.",
    "rewritten": "Orthanc decodes and writes the object anew with DCMTK, which says otherwise how pixels and palettes are stored; here what is not de-identified stays as it is, octet by octet.",
    "lost": "Orthanc's reader loses elements of this file, in which numbers have no value.",
    "comments": "Comments and application data in compressed frames are overwritten with blanks; the image that decoders see is as it was.",
    "form": "The value is none of its value representation: letters in a number could say anything.",
    "beyond": "The table leaves it out, and it is a unique identifier of an instance as those that it names.",
    "scheme": "A coding scheme that is not a published one may be a hospital's: its texts are replaced.",
}


def kitware(source, target):
    from dicomanonymizer import anonymize_dicom_file
    from dicomanonymizer.simpledicomanonymizer import initialize_actions

    anonymize_dicom_file(str(source), str(target), base_rules_gen=lambda: initialize_actions(KITWARE_TABLE))


def kitware_or_not(pair):
    """Whether it makes a file at all is not the question here."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    try:
        kitware(*pair)
    except Exception:  # whatever it throws, there is nothing to compare
        pair[1].unlink(missing_ok=True)


def make(pairs):
    """Lets both engines work on files; gives the folders' names."""
    with multiprocessing.Pool(2) as pool:
        pool.map(kitware_or_not, [(source, made["kitware"]) for source, made in pairs])
    with Orthanc() as (http, server):
        for source, made in pairs:
            try:
                known = json.loads(http.post("/instances", source.read_bytes()))["ID"]
                made["orthanc"].write_bytes(http.post(f"/instances/{known}/anonymize", b"{}"))
            except (ConnectionError, RuntimeError):  # it does not take every file
                http = Http(server.port)


def values(dataset, prefix=(), found=None):
    """The values of every attribute, by the tags that lead to it."""
    found = {} if found is None else found
    for element in dataset:
        path = (*prefix, element.tag)
        if element.VR == "SQ":
            found.setdefault(path, []).append("items" if element.value else "")
            for item in element.value:
                values(item, path, found)
        else:
            empty = element.value is None or (hasattr(element.value, "__len__") and len(element.value) == 0)
            found.setdefault(path, []).append("" if empty else str(element.value))
    return found


def became(before, after):
    if before is None:
        return "absent" if after is None else "added"
    if after is None:
        return "removed"
    if before == after:
        return "kept" if any(before) else "left empty"
    if not any(after):
        return "emptied"
    if "items" in before and "items" in after:
        return "kept"
    return "replaced"


def differences(original, ours, theirs):
    """Each attribute that became something else: its path, what it became here, and there, and whether DICOM registers its values."""
    for path in original.keys() | ours.keys() | theirs.keys():
        above = path[:-1]
        inside = not above or any(ours.get(above, [])) and any(theirs.get(above, []))
        # A group length is another one when a made-up UID is longer.
        if path[0].group == 2 or path[-1].element == 0 or not inside:
            continue
        here, there = became(original.get(path), ours.get(path)), became(original.get(path), theirs.get(path))
        if here != there:
            registered = all(value in UID_dictionary for value in original.get(path, [""]))
            yield path, here, there, registered


def table():
    """The action of the basic profile, by tag."""
    rows = [line.rstrip("\n").split("\t") for line in TABLE.read_text().splitlines() if line.startswith("(")]
    return {row[0].upper(): row[3] for row in rows}


def representation(tag):
    """What the dictionary says of a tag; nothing if it does not know it."""
    return dictionary_VR(tag) if dictionary_has_tag(tag) else ""


def shown(tag):
    return f"({tag.group:04X},{tag.element:04X})"


def reason(engine, file, path, here, there, registered, actions):
    """Why this plugin does otherwise; nothing if nobody knows."""
    tag = path[-1]
    action = actions.get(shown(tag), "")
    above = [actions.get(shown(tag), "") for tag in path[:-1]]
    if tag.group & 0xFF01 == 0x6000:
        return "overlay"
    if tag in (0x00120062, 0x00120063, 0x00120064, 0x00280303) and here in ("added", "replaced", "kept"):
        return "said"
    if engine == "orthanc" and file.name == EMPTY_NUMBERS and here == "left empty" and there == "removed":
        return "lost"
    if here == "left empty" or (here == "absent" and action):
        return "empty"
    if registered and here == "kept" and action.endswith("U"):
        return "registered"
    if tag in (0x00080115, 0x00080116):
        return "scheme"
    if "*" in action:
        return "reference"
    if any("D" in part for part in above) or tag in CLEANED:
        return "cleaned"
    if tag == 0x7FE00010 and here == "replaced" and there == "kept":
        return "comments"
    if not action and here == "emptied" and representation(tag) in ("DS", "IS", "CS"):
        return "form"
    if not action and here == "replaced" and representation(tag) == "UI":
        return "beyond"
    if action and here != "kept" and there == "kept":
        return "asked"
    if "/" in action or action == "Z":
        return "choice"
    if action in ("X", "D", "U") and here != "kept":
        return "asked"
    if engine == "orthanc" and not action and here in ("kept", "absent"):
        return "rewritten"
    return ""


def rows(pairs):
    """How many files show each difference."""
    actions, counted = table(), Counter()
    for source, delivered, made in pairs:
        original = values(pydicom.dcmread(source, force=True))
        ours = values(pydicom.dcmread(delivered))
        for engine, path in made.items():
            if not path.is_file():
                continue
            theirs = values(pydicom.dcmread(path, force=True))
            for tags, here, there, registered in differences(original, ours, theirs):
                why = reason(engine, source, tags, here, there, registered, actions)
                counted[engine, ">".join(map(shown, tags)), keyword_for_tag(tags[-1]), here, there, why] += 1
    return counted


def document(counted, versions):
    lines = [
        "# What other engines do otherwise",
        "",
        "Plugin `deidentify` with the Basic Profile, beside two engines that others wrote, on the real DICOM files of `cargo xtask interop`, which",
        f"made this list and fails where a difference is not explained. {versions}.",
        "A path names the sequences that an attribute is in. What differs inside of a sequence that one of the two does not have is not listed, nor are group",
        "lengths, which are retired (PS3.5 7.2) and go.",
        "",
        "| reason | |",
        "|---|---|",
    ]
    used = {why for *_, why in counted}
    lines += [f"| {name} | {text} |" for name, text in REASONS.items() if name in used]
    lines += ["", "| engine | attribute | | here | there | files | reason |", "|---|---|---|---|---|---|---|"]
    for (engine, path, keyword, here, there, why), count in sorted(counted.items()):
        lines.append(f"| {engine} | {path} | {keyword} | {here} | {there} | {count} | {why} |")
    return "\n".join(lines) + "\n"


def version_of_orthanc():
    printed = subprocess.run(["Orthanc", "--version"], capture_output=True, check=True, text=True).stdout
    return printed.split("\n")[0].removeprefix("Orthanc").strip()


def main():
    parser = argparse.ArgumentParser()
    for name in ["--files", "--delivered", "--made"]:
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--accept", action="store_true")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    pairs = []
    for delivered in sorted(path for path in arguments.delivered.rglob("*") if path.is_file()):
        name = delivered.relative_to(arguments.delivered)
        made = {engine: arguments.made / engine / name for engine in ("kitware", "orthanc")}
        for path in made.values():
            path.parent.mkdir(parents=True, exist_ok=True)
        pairs.append((arguments.files / name, delivered, made))
    make([(source, made) for source, _, made in pairs])
    counted = rows(pairs)
    versions = f"Orthanc {version_of_orthanc()}, Kitware's dicom-anonymizer 2.1.0 with its table of 2026c, {len(pairs)} files"
    unexplained = [row for row in counted if not row[-1]]
    for engine, path, keyword, here, there, _ in unexplained:
        print(f"not explained: {engine} {path} {keyword}: here {here}, there {there}")
    text = document(counted, versions)
    if arguments.accept:
        DOCUMENT.write_text(text)
    committed = DOCUMENT.read_text()
    # Another version of Orthanc may do otherwise; what it does has to be explained all the same.
    differs = versions in committed and committed != text
    if differs:
        print(f"{DOCUMENT} is not what was found: run `cargo xtask interop --accept` and look at what changed")
    if unexplained or differs:
        sys.exit(1)
    print(f"differences: {len(counted)} between plugin deidentify and two engines on {len(pairs)} files, each explained")


if __name__ == "__main__":
    main()
