"""Bodies that Hilum sealed, opened with pycose and Tink; and bodies that pycose and Tink sealed, opened by Hilum. And single fields
that Hilum sealed, opened with jwcrypto; and fields that jwcrypto sealed, opened by Hilum.

Hilum seals in a live broker: records of many lengths go through its plugin `encrypt` to two recipients, and come back as the
files that a subscriber gets. What they look like is described in `plugins/encrypt/README.md`, of which this is an implementation by others'
libraries. The other way, `hospital open` opens what was sealed here.
"""

import argparse
import base64
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import tink
from cryptography.hazmat.primitives import serialization
from jwcrypto import jwe, jwk
from pycose.algorithms import A256GCM, EcdhEsA256KW
from pycose.headers import IV, KID, Algorithm, ContentType, StaticKey
from pycose.keys import EC2Key
from pycose.keys.curves import P256
from pycose.messages import CoseMessage, EncMessage
from pycose.messages.recipient import KeyAgreementWithKeyWrap
from tink import cleartext_keyset_handle, streaming_aead
from tink.proto import aes_gcm_hkdf_streaming_pb2, common_pb2, tink_pb2

MESSAGE = 'application/cose; cose-type="cose-encrypt"'
STREAM = "application/vnd.hilum.sealed-stream"
KEY = "application/vnd.hilum.aes256-gcm-hkdf-1mb-key"
FIRST_LINES = {MESSAGE: "hilum-encrypt-v2", STREAM: "hilum-encrypt-stream-v2"}
FIELD_LINE = "hilum-encrypt-field-v2"
ORIGINAL = "application/dicom"
RECIPIENTS = ("reader", "deputy")
# What the records are published with, and who publishes them.
KEY_OF_RECORDS, UNIT, SOURCE = "4711", "mri 1=a", "spiffe://test/device/scanner"

INLINE_MAX = 256 * 1024
SEGMENT = 1 << 20
# What the first segment takes, and each further one: 40 octets of header and 16 of tag.
FIRST, FURTHER = SEGMENT - 40 - 16, SEGMENT - 16
SIZES = [1, 23, INLINE_MAX - 1, INLINE_MAX, INLINE_MAX + 1, 900_000]
SIZES += [FIRST + more for more in (-1, 0, 1)] + [FIRST + FURTHER + more for more in (-1, 0, 1)]
SIZES += [5 << 20, 9_000_001]

MAIN = """
[hospital]
name = "test"
[broker]
listen = "127.0.0.1:0"
[labels]
phi = { description = "identifies a patient" }
[zones]
clinic = { description = "where everything is" }
[stakeholders.clinic]
description = "publishes"
cleared = ["phi"]
[stakeholders.ward]
description = "reads"
cleared = ["phi"]
[principals.scanner]
path = "device/scanner"
stakeholder = "clinic"
zone = "clinic"
[principals.reader]
path = "service/reader"
stakeholder = "ward"
zone = "clinic"
[principals.deputy]
path = "service/deputy"
stakeholder = "ward"
zone = "clinic"
[plugins.encrypt]
path = "plugins/encrypt"
"""
FLOW = """
name = "records"
class = "clinical"
zone = "clinic"
labels = ["phi"]
[[publish]]
stakeholder = "clinic"
[[subscription]]
name = "all"
stakeholder = "ward"
purpose = "TREAT"
[[subscription.egress]]
stage = "seal"
plugin = "encrypt"
grants = ["random", "recipient:ward"]
config = { recipients = ["ward"], keep_key = true, keep_source = true, keep_attributes = ["unit"] }
[[subscription]]
name = "fields"
stakeholder = "ward"
purpose = "TREAT"
[[subscription.egress]]
stage = "seal"
plugin = "encrypt"
grants = ["random", "recipient:ward", "recipient:reader"]
config = { recipients = [%s], fields = { hl7v2 = ["PID-3", "PID-5"], fhir = ["Patient.name", "Patient.birthDate"] } }
"""

HL7, FHIR = "application/hl7-v2", "application/fhir+json"
ADT = b"MSH|^~\\&|A|B|||2026||ADT^A01|7|P|2.5.1\rPID|1||4711^^^X^MR~12||Doe^Jane\rNTE|1||no more\r"
PATIENT = b'{"resourceType":"Patient","name":[{"family":"Doe"}],"birthDate":"1950-02-03"}'
# What is sealed of them, by place.
FIELDS = {
    HL7: {"2/PID-3": b"4711^^^X^MR~12", "2/PID-5": b"Doe^Jane"},
    FHIR: {"Patient.name": b'{"name":[{"family":"Doe"}]}', "Patient.birthDate": b'{"birthDate":"1950-02-03"}'},
}
SEALED_ELEMENT = "urn:hilum:fhir:sealed-element"


def content(size: int) -> bytes:
    """Octets that repeat nowhere near, and begin anew with each size."""
    return hashlib.shake_128(str(size).encode()).digest(size)


def bound(first: str, content_type: str, time: int, key: str | None, attributes: dict[str, str]) -> str:
    """What is sealed in a record with this head is bound to; the attributes are in the record's order and end with its own id."""
    lines = [first, "records", content_type, str(time), "key" if key is None else f"key {key}"]
    return "\n".join(lines + [f"{name} {value}" for name, value in attributes.items()])


def kept(record_id: str) -> dict[str, str]:
    """The attributes of a record whose body is sealed as a whole."""
    return {"original-content-type": ORIGINAL, "unit": UNIT, "record-source": SOURCE, "record-id": record_id}


def associated(content_type: str, time: int, record_id: str) -> bytes:
    return bound(FIRST_LINES[content_type], content_type, time, KEY_OF_RECORDS, kept(record_id)).encode()


def load(path: Path):
    """A private key, its public part and its `kid`."""
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    spki = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    numbers = key.private_numbers()
    x, y, d = (
        number.to_bytes(32, "big")
        for number in (numbers.public_numbers.x, numbers.public_numbers.y, numbers.private_value)
    )
    return EC2Key(crv=P256, x=x, y=y, d=d), EC2Key(crv=P256, x=x, y=y), hashlib.sha256(spki).digest()


def tink_stream(material: bytes):
    """Tink's AES256_GCM_HKDF_1MB with this key material."""
    key = aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingKey(key_value=material)
    key.params.ciphertext_segment_size = SEGMENT
    key.params.derived_key_size = 32
    key.params.hkdf_hash_type = common_pb2.SHA256
    keyset = tink_pb2.Keyset(primary_key_id=1)
    one = keyset.key.add()
    one.key_id, one.status, one.output_prefix_type = 1, tink_pb2.ENABLED, tink_pb2.RAW
    one.key_data.type_url = "type.googleapis.com/google.crypto.tink.AesGcmHkdfStreamingKey"
    one.key_data.value = key.SerializeToString()
    one.key_data.key_material_type = tink_pb2.KeyData.SYMMETRIC
    handle = cleartext_keyset_handle.read(tink.BinaryKeysetReader(keyset.SerializeToString()))
    return handle.primitive(streaming_aead.StreamingAead)


class Kept(io.BytesIO):
    """Keeps its octets when it is closed."""

    def close(self):
        self.kept = self.getvalue()
        super().close()


def seal_message(plain: bytes, aad: bytes, keys, headers) -> bytes:
    content_key, recipients = os.urandom(32), []
    for _, public, kid in keys:
        recipient = KeyAgreementWithKeyWrap(phdr={Algorithm: EcdhEsA256KW}, uhdr={KID: kid}, payload=content_key)
        recipient.local_attrs = {StaticKey: public}
        recipients.append(recipient)
    headers = {Algorithm: A256GCM} | headers
    message = EncMessage(headers, {IV: os.urandom(12)}, plain, external_aad=aad, recipients=recipients)
    return message.encode()


def open_message(sealed: bytes, aad: bytes, key):
    private, _, kid = key
    message = CoseMessage.decode(sealed)
    message.external_aad = aad
    recipient = next(recipient for recipient in message.recipients if recipient.uhdr.get(KID) == kid)
    recipient.key = private
    return message, message.decrypt(recipient)


def seal(content_type: str, plain: bytes, aad: bytes, keys) -> bytes:
    if content_type == MESSAGE:
        return seal_message(plain, aad, keys, {})
    material, out = os.urandom(32), Kept()
    with tink_stream(material).new_encrypting_stream(out, aad) as stream:
        stream.write(plain)
    message = seal_message(material, aad, keys, {ContentType: KEY})
    return len(message).to_bytes(4, "big") + message + out.kept


def open_sealed(content_type: str, sealed: bytes, aad: bytes, key) -> bytes:
    if content_type == MESSAGE:
        return open_message(sealed, aad, key)[1]
    end = 4 + int.from_bytes(sealed[:4], "big")
    message, material = open_message(sealed[4:end], aad, key)
    if message.phdr.get(ContentType) != KEY or len(material) != 32:
        raise ValueError("the message has no key of a stream")
    with tink_stream(material).new_decrypting_stream(io.BytesIO(sealed[end:]), aad) as stream:
        return stream.read()


def opens(content_type: str, sealed: bytes, aad: bytes, key) -> bool:
    try:
        open_sealed(content_type, sealed, aad, key)
    except Exception:  # whatever the libraries throw, it did not open
        return False
    return True


class Hospital:
    """A small hospital of Hilum's, and its broker."""

    def __init__(self, hilum: Path, base: Path, field_recipients: str):
        self.hilum, self.directory = str(hilum), base / "hospital"
        shutil.rmtree(base, ignore_errors=True)
        (base / "config" / "flows").mkdir(parents=True)
        (base / "config" / "hilum.toml").write_text(MAIN)
        (base / "config" / "flows" / "records.toml").write_text(FLOW % field_recipients)
        self.run("init", str(self.directory), "--from", str(base / "config"))
        self.keys = {name: load(self.key(name)) for name in RECIPIENTS}

    def key(self, name: str) -> Path:
        return self.directory / "identities" / name / "key.pem"

    def run(self, *arguments: str) -> str:
        done = subprocess.run([self.hilum, *arguments], capture_output=True, text=True, timeout=300)
        if done.returncode != 0:
            sys.exit(f"hilum {' '.join(arguments)}: {done.stderr}")
        return done.stdout

    def __enter__(self):
        command = [self.hilum, "serve", str(self.directory)]
        self.broker = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.address = self.broker.stdout.readline().strip().removeprefix("listening on ")
        return self

    def __exit__(self, *_):
        self.broker.terminate()
        self.broker.wait(timeout=60)

    def client(self, command: str, identity: str, *rest: str) -> str:
        connection = ["--dir", str(self.directory), "--address", self.address, "--as", identity]
        return self.run(command, *connection, *rest)


def sealed_by_hilum(hospital: Hospital, base: Path):
    """Problems with what the broker sealed."""
    bodies = []
    for number, size in enumerate(SIZES):
        bodies.append(base / f"body{number}")
        bodies[-1].write_bytes(content(size))
    with hospital:
        head = ["--content-type", ORIGINAL, "--record-key", KEY_OF_RECORDS, "--attribute", f"unit={UNIT}", "--attribute", "patient=4711"]
        hospital.client("publish", "scanner", *head, "records", *map(str, bodies))
        out = ["--out", str(base / "sealed"), "--count", str(len(SIZES)), "--json", "records", "all"]
        lines = hospital.client("subscribe", "reader", *out).splitlines()
    if len(lines) != len(SIZES):
        yield f"{len(lines)} of {len(SIZES)} records came"
    delivered, seen = sorted(map(json.loads, lines), key=lambda line: line["offset"]), set()
    for size, line in zip(SIZES, delivered):
        content_type, sealed = line["content_type"], Path(line["file"]).read_bytes()
        if content_type != (MESSAGE if size <= INLINE_MAX else STREAM):
            yield f"{size} octets: sealed as {content_type}"
            continue
        record_id = line["attributes"].get("record-id", "")
        if len(record_id) != 32 or record_id in seen or (line["key"], line["attributes"]) != (KEY_OF_RECORDS, kept(record_id)):
            yield f"{size} octets: the record does not say what is inside and which one it is"
        seen.add(record_id)
        aad = associated(content_type, line["time"], record_id)
        other = associated(content_type, line["time"], "0" * 32)
        for name, key in hospital.keys.items():
            if open_sealed(content_type, sealed, aad, key) != content(size):
                yield f"{size} octets: {name} opens something else"
        key = hospital.keys["reader"]
        if opens(content_type, sealed[:-1], aad, key) or opens(content_type, sealed, other, key):
            yield f"{size} octets: it opens although it was cut off or is of another record"


def sealed_by_others(hospital: Hospital, hospital_program: Path, base: Path):
    """Problems with how Hilum opens what pycose and Tink sealed."""
    time, record_id = 1_790_000_000_000, os.urandom(16).hex()
    given = ["--record-key", KEY_OF_RECORDS]
    given += [text for name, value in kept(record_id).items() for text in ("--attribute", f"{name}={value}")]
    for size in SIZES:
        content_type = MESSAGE if size <= INLINE_MAX else STREAM
        sealed = seal(content_type, content(size), associated(content_type, time, record_id), hospital.keys.values())
        for name, octets in [(name, sealed) for name in RECIPIENTS] + [("reader", sealed[:-1])]:
            (base / "theirs").write_bytes(octets)
            (base / "opened").unlink(missing_ok=True)
            command = [str(hospital_program), "open", "--key", str(hospital.key(name)), "--flow", "records"]
            command += ["--content-type", content_type, "--time", str(time), *given]
            done = subprocess.run([*command, str(base / "theirs"), str(base / "opened")], capture_output=True, text=True)
            if len(octets) < len(sealed):
                if done.returncode == 0:
                    yield f"{size} octets: opens although it was cut off"
            elif done.returncode != 0:
                yield f"{size} octets: {name} does not open it: {done.stderr.strip()}"
            elif (base / "opened").read_bytes() != content(size):
                yield f"{size} octets: {name} opens something else"


def b64(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def context(content_type: str, time: int, attributes: dict[str, str], place: str) -> str:
    """What a field is bound to, as its protected header has it."""
    text = bound(FIELD_LINE, content_type, time, None, attributes) + f"\n{place}"
    return b64(hashlib.sha256(text.encode()).digest())


def sealed_fields(content_type: str, body: bytes) -> dict[str, str]:
    """The sealed fields of one of our two bodies, by place."""
    if content_type == HL7:
        fields = body.decode().split("\r")[1].split("|")
        return {f"2/PID-{number}": fields[number] for number in (3, 5)}
    patient = json.loads(body)
    elements = {"Patient.name": patient["name"][0], "Patient.birthDate": patient["_birthDate"]}
    extensions = {place: element["extension"][0] for place, element in elements.items()}
    return {place: found["valueString"] for place, found in extensions.items() if found["url"] == SEALED_ELEMENT}


def fields_sealed_by_hilum(hospital: Hospital, base: Path, recipients: tuple[str, ...]):
    """Problems with the fields that the broker sealed."""
    with hospital:
        for number, (content_type, body) in enumerate([(HL7, ADT), (FHIR, PATIENT)]):
            (base / f"plain{number}").write_bytes(body)
            hospital.client("publish", "scanner", "--content-type", content_type, "records", str(base / f"plain{number}"))
        out = ["--out", str(base / "fields"), "--count", "2", "--json", "records", "fields"]
        lines = sorted(map(json.loads, hospital.client("subscribe", "reader", *out).splitlines()), key=lambda line: line["offset"])
    if [line["content_type"] for line in lines] != [HL7, FHIR]:
        yield f"{lines} came"
    for line in lines:
        content_type, time = line["content_type"], line["time"]
        attributes = {name: line["attributes"].get(name, "") for name in ("sealed-fields", "record-id")}
        if attributes["sealed-fields"] != "2" or len(attributes["record-id"]) != 32:
            yield f"{content_type}: the record does not say which one it is"
        found = sealed_fields(content_type, Path(line["file"]).read_bytes())
        for place, plain in FIELDS[content_type].items():
            for name in recipients:
                message = jwe.JWE()
                message.deserialize(found[place], jwk.JWK.from_pem(hospital.key(name).read_bytes()))
                if message.payload != plain:
                    yield f"{place}: {name} opens something else"
                protected = json.loads(base64.urlsafe_b64decode(found_header(found[place]) + "=="))
                if protected["hilum-context"] != context(content_type, time, attributes, place):
                    yield f"{place}: it is bound to something else"


def found_header(message: str) -> str:
    """The protected header of a JWE in either form, in base64url."""
    return json.loads(message)["protected"] if message.startswith("{") else message.split(".")[0]


def fields_sealed_by_others(hospital: Hospital, hospital_program: Path, base: Path, recipients: tuple[str, ...]):
    """Problems with how Hilum opens the fields that jwcrypto sealed."""
    time, attributes = 1_790_000_000_000, {"sealed-fields": "2", "record-id": os.urandom(16).hex()}
    for content_type, plain in ((HL7, ADT), (FHIR, PATIENT)):
        for moved in (False, True):
            made = {}
            for place, value in FIELDS[content_type].items():
                said = attributes | {"record-id": "0" * 32} if moved else attributes
                header = {"enc": "A256GCM", "hilum-context": context(content_type, time, said, place)}
                message = jwe.JWE(value, json.dumps(header), json.dumps({"alg": "ECDH-ES+A256KW"}))
                for name in recipients:
                    message.add_recipient(jwk.JWK.from_pem(hospital.key(name).read_bytes()))
                made[place] = message.serialize()
            if content_type == HL7:
                theirs = plain.decode().replace("4711^^^X^MR~12", made["2/PID-3"]).replace("Doe^Jane", made["2/PID-5"])
            else:
                held = {place: {"extension": [{"url": SEALED_ELEMENT, "valueString": value}]} for place, value in made.items()}
                theirs = json.dumps({"resourceType": "Patient", "name": [held["Patient.name"]], "_birthDate": held["Patient.birthDate"]})
            (base / "theirs").write_text(theirs, newline="")
            (base / "opened").unlink(missing_ok=True)
            command = [str(hospital_program), "open", "--key", str(hospital.key(recipients[0])), "--flow", "records"]
            command += ["--content-type", content_type, "--fields", "--time", str(time)]
            command += [text for name, value in attributes.items() for text in ("--attribute", f"{name}={value}")]
            done = subprocess.run([*command, str(base / "theirs"), str(base / "opened")], capture_output=True, text=True)
            if moved:
                if done.returncode == 0:
                    yield f"{content_type}: fields of another record open"
            elif done.returncode != 0:
                yield f"{content_type}: the fields do not open: {done.stderr.strip()}"
            else:
                opened = (base / "opened").read_bytes()
                same = opened == plain if content_type == HL7 else json.loads(opened) == json.loads(plain)
                if not same:
                    yield f"{content_type}: the fields open as something else"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("hilum", "hospital", "base"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    arguments = parser.parse_args()
    streaming_aead.register()
    found = []
    # One key makes the compact form of a field, and several the other one.
    for recipients, named in ((RECIPIENTS, '"ward"'), (("reader",), '"reader"')):
        hospital = Hospital(arguments.hilum, arguments.base, named)
        found += fields_sealed_by_hilum(hospital, arguments.base, recipients)
        found += fields_sealed_by_others(hospital, arguments.hospital, arguments.base, recipients)
    hospital = Hospital(arguments.hilum, arguments.base, named)
    found += sealed_by_hilum(hospital, arguments.base)
    found += sealed_by_others(hospital, arguments.hospital, arguments.base)
    for line in found:
        print(line)
    if found:
        sys.exit(f"{len(found)} complaints of sealed bodies")
    shutil.rmtree(arguments.base)
    print(f"{len(SIZES)} bodies that Hilum sealed to {len(RECIPIENTS)} recipients open in pycose and Tink, and as many of theirs in Hilum")
    print("fields of HL7v2 and FHIR that Hilum sealed to one and to two recipients open in jwcrypto, and as many of theirs in Hilum")


if __name__ == "__main__":
    main()
