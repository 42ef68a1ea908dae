"""Whether what went through an example plugin is what independent readers make of it.

For `dicom-morph` the rules of `examples/hospital/src/interop/morph.toml` stand here again, done with pydicom: what was delivered must be
the same, element for element. For `fhir-observation` each resource must be one to a reader of FHIR R4 and to one of R4B.
"""

import copy
import json
import subprocess
from pathlib import Path

import pydicom
from fhir.resources.R4B import get_fhir_model_class
from fhirclient.models.fhirelementfactory import FHIRElementFactory
from pydicom.dataelem import DataElement


def items(dataset, *path):
    """Each item of nested sequences."""
    if not path:
        return [dataset]
    element = dataset.get(path[0])
    inner = element.value if element is not None and element.VR == "SQ" else []
    return [found for item in inner for found in items(item, *path[1:])]


def private(dataset, group, creator, element):
    """The tag of a private element here; one that no data set has where its creator reserved no block."""
    try:
        return dataset.private_block(group, creator).get_tag(element)
    except KeyError:
        return 0x00010000


def text(dataset, tag):
    """The value of a tag as a rule sees it; nothing if it is missing or empty."""
    element = dataset.get(tag)
    if element is None or element.value in (None, ""):
        return None
    value = element.value if element.VM > 1 else [element.value]
    return "\\".join(str(getattr(one, "original_string", one)) for one in value).strip()


def put(dataset, tag, vr, value):
    """Gives a tag a value."""
    dataset[tag] = DataElement(tag, vr, value)


def morph(dataset):
    """The rules."""
    is_report = any(text(item, 0x00080102) in ("DCM", "LN", "99_OFFIS_DCMTK") for item in items(dataset, 0x0040A043))
    is_plan = text(dataset, 0x00080060) == "RTPLAN"
    if 0x00081030 in dataset:
        put(dataset, 0x00081030, "LO", "Study")
    if text(dataset, 0x00080080) is None:
        put(dataset, 0x00080080, "LO", "St. Mary's")
    dataset.pop(private(dataset, 0x0009, "GEMS_IDEN_01", 0x01), None)
    for item in items(dataset, 0x00400275):
        put(item, 0x00400007, "LO", "Step")
    modality = text(dataset, 0x00080060)
    for item in items(dataset, 0x00081140):
        if modality is not None:
            put(item, 0x00080060, "CS", modality)
    for item in items(dataset, 0x00082112):
        item.pop(0x00081155, None)
    for item in items(dataset, 0x00089215):
        if text(item, 0x00080104) == "Lossy Compression":
            put(item, 0x00080104, "LO", "Lossy")
        elif text(item, 0x00080104) is not None:
            del item[0x00080104]
    for item in items(dataset, private(dataset, 0x0049, "GEMS_CT_CARDIAC_001", 0x01)):
        tag = private(item, 0x0049, "GEMS_CT_CARDIAC_001", 0x04)
        if tag in item:
            put(item, tag, "CS", "RULE")
    if is_report:
        for item in items(dataset, 0x0040A730, 0x0040A043):
            put(item, 0x00080103, "SH", "01")
        for item in items(dataset, 0x0040A730, 0x0040A730, 0x0040A043):
            if text(item, 0x00080103) is None:
                put(item, 0x00080103, "SH", "02")
        meanings = [text(item, 0x00080104) for item in items(dataset, 0x0040A043)]
        if meaning := next(filter(None, meanings), None):
            put(dataset, 0x0008103E, "LO", meaning)
    if is_plan:
        for item in items(dataset, 0x300A0070, 0x300C0004):
            if value := text(item, 0x300A0084):
                put(item, 0x300A0086, "DS", value)
        for item in items(dataset, 0x300A00B0, 0x300A0111, 0x300A011A):
            put(item, 0x300A00B8, "CS", "ASYMX")


def differences(expected, made, path=""):
    """Where two data sets are not the same, without their values."""
    for tag in sorted(expected.keys() ^ made.keys()):
        yield f"{path}{tag}: " + ("is missing" if tag in expected else "should not be there")
    for tag in sorted(expected.keys() & made.keys()):
        one, other = expected[tag], made[tag]
        if one.VR != other.VR:
            yield f"{path}{tag}: is {other.VR}, not {one.VR}"
        elif one.VR != "SQ":
            if str(one.value) != str(other.value):
                yield f"{path}{tag}: is another value"
        elif len(one.value) != len(other.value):
            yield f"{path}{tag}: has {len(other.value)} items, not {len(one.value)}"
        else:
            for number, pair in enumerate(zip(one.value, other.value), 1):
                yield from differences(*pair, f"{path}{tag}[{number}].")


def morph_problems(original_path: Path, path: Path):
    """What is wrong with a DICOM file that rules changed."""
    dump = subprocess.run(["dcmdump", "-q", str(path)], capture_output=True, check=False)
    opens = subprocess.run(["dcmdump", "-q", str(original_path)], capture_output=True, check=False).returncode == 0
    if opens and dump.returncode != 0:
        yield f"dcmdump does not open it: {dump.stderr.decode(errors='replace').strip()[:200]}"
    try:
        expected, made = pydicom.dcmread(original_path), pydicom.dcmread(path)
        morph(expected)
        yield from differences(expected, made)
        # The length of the group, and the transfer syntax of what was deflated, are others.
        for of in (expected, made):
            of.file_meta.pop(0x00020000, None)
            if of.file_meta.get("TransferSyntaxUID") == "1.2.840.10008.1.2.1.99":
                of.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
        yield from differences(expected.file_meta, made.file_meta, "file meta ")
    except Exception as error:  # whatever the reader throws is the finding
        yield f"pydicom does not read it: {error!r}"


def as_read(value):
    """JSON as both readers give it back: what a dateTime says, not how many zeros it ends in."""
    if isinstance(value, dict):
        return {key: as_read(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [as_read(inner) for inner in value]
    if isinstance(value, str) and value.endswith("Z") and "." in value:
        return value[:-1].rstrip("0").rstrip(".") + "Z"
    return value


def resource_problems(resource):
    """What two readers of FHIR have to say against a resource."""
    try:
        read = FHIRElementFactory.instantiate(resource["resourceType"], resource)
        if read.as_json() != resource:
            yield "fhirclient gives something else back"
    except Exception as error:  # whatever the reader throws is the finding
        yield f"fhirclient: {' '.join(str(error).split())[:300]}"
    try:
        read = get_fhir_model_class(resource["resourceType"]).model_validate_json(json.dumps(resource))
        if as_read(json.loads(read.model_dump_json())) != as_read(resource):
            yield "fhir.resources gives something else back"
        allowed = type(read).model_fields["status"].json_schema_extra["enum_values"] if "status" in resource else []
        if allowed and read.status not in allowed:
            yield f"the status is none of {allowed}"
    except Exception as error:  # whatever the reader throws is the finding
        yield f"fhir.resources: {' '.join(str(error).split())[:300]}"


def fhir_problems(original_path: Path, path: Path):
    """What is wrong with the Bundle that was made of telemetry."""
    sent, bundle = json.loads(original_path.read_bytes()), json.loads(path.read_bytes())
    yield from resource_problems(bundle)
    made = [entry["resource"] for entry in bundle["entry"]]
    readings = sent.get("readings", [sent])
    if len(readings) != len(made):
        yield f"{len(readings)} readings became {len(made)} resources"
    for reading, resource in zip(readings, made):
        yield from resource_problems(resource)
        value = resource.get("valueQuantity", {}).get("value")
        # The configuration rounds some sensors to a whole number.
        if (value is None) != (reading["value"] is None) or (value is not None and abs(value - reading["value"]) > 0.5):
            yield f"a reading of {reading['sensor']} is another value"


# An Observation, and what must not be taken for one: who does not notice is no judge.
OBSERVATION = {
    "resourceType": "Observation",
    "status": "final",
    "code": {"coding": [{"system": "http://loinc.org", "code": "60832-3"}]},
    "effectiveDateTime": "2026-11-23T19:00:00.250Z",
    "valueQuantity": {"value": 21.5, "unit": "°C", "system": "http://unitsofmeasure.org", "code": "Cel"},
}
BROKEN = {
    "no status": lambda it: it.pop("status"),
    "another status": lambda it: it.update(status="done"),
    "no code": lambda it: it.pop("code"),
    "an element that there is not": lambda it: it.update(colour="red"),
    "a time without a zone": lambda it: it.update(effectiveDateTime="2026-11-23T19:00:00"),
    "two values": lambda it: it.update(valueString="warm"),
    "a number as text": lambda it: it["valueQuantity"].update(value="21.5"),
    "one where there are several": lambda it: it.update(interpretation={"text": "normal"}),
    "null": lambda it: it.update(device=None),
    "an empty list": lambda it: it.update(category=[]),
    "an empty text": lambda it: it["valueQuantity"].update(unit=""),
    "a code with spaces around it": lambda it: it["valueQuantity"].update(code=" Cel "),
}


def unnoticed():
    """What the readers of FHIR should have complained of and did not, or the other way round."""
    found = [f"a right Observation is refused: {problem}" for problem in resource_problems(OBSERVATION)]
    for what, change in BROKEN.items():
        broken = copy.deepcopy(OBSERVATION)
        change(broken)
        if not any(resource_problems(broken)):
            found.append(f"nobody notices an Observation with {what}")
    return found
