"""Whether a de-identified FHIR resource is still one, and says nothing that names anybody.

Two readers have to accept it, one of R4 and one of R4B, as they accept the original. No text that people read may be left: names, displays,
narratives, notes. Nor may any logical identifier, reference or date be the original's.
"""

import json

from fhir.resources.R4B import get_fhir_model_class
from fhirclient.models.fhirelementfactory import FHIRElementFactory

# Members that hold a text, a name or an address, at whatever depth.
TEXTS = {"display", "text", "family", "given", "line", "city", "comment", "note", "description", "div", "telecom", "extension"}
# What a text of these members may still be: what stands for a name, an empty narrative and what is masked.
ALLOWED = {"ANONYMOUS", '<div xmlns="http://www.w3.org/1999/xhtml">-</div>'}
# Shorter values, such as a state, turn up by chance.
LENGTH_MIN = 6


def leaves(value, member=""):
    """Each value that is not made of others, with the name of the member that it is in."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, member if member in TEXTS else name)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, member)
    else:
        yield member, value


def readers(resource):
    """What two readers think of a resource."""
    try:
        FHIRElementFactory.instantiate(resource["resourceType"], resource)
    except Exception as error:  # whatever the reader throws is the finding
        yield f"fhirclient: {' '.join(str(error).split())[:200]}"
    try:
        get_fhir_model_class(resource["resourceType"]).model_validate(resource)
    except Exception as error:  # whatever the reader throws is the finding
        yield f"fhir.resources: {' '.join(str(error).split())[:200]}"


def problems(original_path, path):
    """What is wrong with a de-identified resource."""
    original, made = json.loads(original_path.read_bytes()), json.loads(path.read_bytes())
    if original["resourceType"] != made["resourceType"]:
        yield "it is of another type"
    if not list(readers(original)):
        yield from readers(made)
    left = {value for _, value in leaves(made) if isinstance(value, str)}
    for member, value in leaves(original):
        is_revealing = member in TEXTS | {"id", "reference", "value"} or (member.endswith("ate") or member.endswith("ateTime"))
        if isinstance(value, str) and is_revealing and len(value) >= LENGTH_MIN and value in left - ALLOWED:
            yield f"a {member} is still there"
