"""Writes the tables of attribute types and the words of body parts, from what highdicom ships of the standard.

`cargo xtask tables` installs the packages at the versions named there and runs this in their presence. What is written:

- `ps3.4-sop-classes.tsv`: which IOD the instances of each SOP class follow (PS3.4 Table B.5-1).
- `ps3.3-iod-modules.tsv`: the modules of each IOD (PS3.3 Annex A), those alone that the next table names.
- `ps3.3-module-types.tsv`: the attributes of each module that have a choice of actions in PS3.15 Table E.1-1 and are of type 1,
  1C, 2 or 2C there, with the sequences that lead to each. Types of a condition are written as the type itself: an instance that has
  the attribute needs it to be valid.
- `ps3.16-annex-l-words.txt`: the words of the code meanings of body parts (PS3.16 Annex L).
"""

import json
import re
import sys
from importlib import metadata, util
from pathlib import Path

from pydicom.datadict import tag_for_keyword

HERE = Path(__file__).parent
PROFILE = next(HERE.glob("ps3.15-*-table-e.1-1.tsv"))
# Its files alone are read: importing it would need all that it needs.
STANDARD = Path(util.find_spec("highdicom").origin).parent / "_standard"
# A content item has what the root of the tree has (PS3.3 Table C.17-6 includes itself), which highdicom lists for the root alone.
CONTENT_MODULE = "sr-document-content"
CONTENT_SEQUENCE = 0x0040A730
# Shorter words are letters and particles.
WORD_LENGTH_MIN = 3
# Particles, and the names of people that anatomy keeps.
NOT_WORDS = {"and", "for", "from", "morisons", "not", "of", "or", "the", "willis", "with"}


def standard(name: str):
    """One of the files that highdicom reads the standard from."""
    return json.loads((STANDARD / f"{name}.json").read_text())


def with_a_choice() -> set[int]:
    """The attributes whose basic action depends on their type."""
    rows = (line.split("\t") for line in PROFILE.read_text().splitlines())
    return {int(row[0][1:5] + row[0][6:10], 16) for row in rows if len(row) > 3 and "/" in row[3]}


def shown(tag: int) -> str:
    """A tag as the tables write it."""
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def types_of_modules() -> dict[str, dict[tuple[int, ...], int]]:
    """Module to path to type, the stricter one where a module names an attribute twice."""
    wanted = with_a_choice()
    found: dict[str, dict[tuple[int, ...], int]] = {}
    for module, attributes in standard("module_attribute_map").items():
        for attribute in attributes:
            tag = tag_for_keyword(attribute["keyword"])
            if tag not in wanted or attribute["type"] not in {"1", "1C", "2", "2C"}:
                continue
            path = (*(tag_for_keyword(keyword) for keyword in attribute["path"]), tag)
            kind = int(attribute["type"][0])
            types = found.setdefault(module, {})
            types[path] = min(kind, types.get(path, kind))
    content = found[CONTENT_MODULE]
    content.update({(CONTENT_SEQUENCE, *path): kind for path, kind in content.items() if len(path) == 1})
    return found


def words() -> set[str]:
    """The words of the names of body parts."""
    meanings = (meaning for _, _, meaning, *_ in standard("anatomic_regions").values())
    found = {word.lower() for meaning in meanings for word in re.findall("[A-Za-z]+", meaning)}
    return {word for word in found if len(word) >= WORD_LENGTH_MIN and word not in NOT_WORDS}


def write(name: str, heading: list[str], rows) -> None:
    """One table, sorted, so that a new version shows as a readable difference."""
    lines = ["\t".join(heading), *("\t".join(row) for row in sorted(rows))]
    (HERE / name).write_text("\n".join(lines) + "\n")
    print(f"{len(lines) - 1:5} rows in {name}")


def main() -> None:
    if metadata.version("highdicom") != sys.argv[1]:
        sys.exit(f"highdicom {metadata.version('highdicom')} is here, not {sys.argv[1]}")
    types = types_of_modules()
    sop_classes = standard("sop_class_iod_map")
    modules = standard("iod_module_map")
    write("ps3.4-sop-classes.tsv", ["sop_class", "iod"], sop_classes.items())
    iods = {
        iod: sorted({module["key"] for module in modules[iod]} & types.keys()) for iod in set(sop_classes.values())
    }
    write("ps3.3-iod-modules.tsv", ["iod", "modules"], ((iod, " ".join(of_iod)) for iod, of_iod in iods.items()))
    used = {module for of_iod in iods.values() for module in of_iod}
    rows = (
        (module, ">".join(shown(tag) for tag in path), str(kind))
        for module in used
        for path, kind in types[module].items()
    )
    write("ps3.3-module-types.tsv", ["module", "path", "type"], rows)
    vocabulary = sorted(words())
    (HERE / "ps3.16-annex-l-words.txt").write_text("\n".join(vocabulary) + "\n")
    print(f"{len(vocabulary):5} words in ps3.16-annex-l-words.txt")


if __name__ == "__main__":
    main()
