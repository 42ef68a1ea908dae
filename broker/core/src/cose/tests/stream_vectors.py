"""How the vectors of `stream.rs` were made, with tink 1.16.1, pycose 1.1.0, cbor2 6.3.0 and cryptography 50.0.2.

    python stream_vectors.py seal        seals to a.pem and b.pem with Tink and pycose, prints the stream in hexadecimal
    python stream_vectors.py segments    seals as Tink's specification says, holds it against Tink, and prints digests
"""

import hashlib
import io
import os
import pathlib
import sys

import tink
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pycose.algorithms import A256GCM, EcdhEsA256KW
from pycose.headers import IV, KID, Algorithm, ContentType, StaticKey
from pycose.keys import EC2Key
from pycose.keys.curves import P256
from pycose.messages import EncMessage
from pycose.messages.recipient import KeyAgreementWithKeyWrap
from tink import cleartext_keyset_handle, streaming_aead
from tink.proto import aes_gcm_hkdf_streaming_pb2, common_pb2, tink_pb2

HERE = pathlib.Path(__file__).parent
PLAIN = b"Helium level is 87.2 %."
ASSOCIATED = b"flow=device"
KEY_CONTENT_TYPE = "application/vnd.hilum.aes256-gcm-hkdf-1mb-key"
SEGMENT = 1 << 20
HEADER = 40
TAG = 16


def primitive(material):
    """Tink's streaming AEAD with this key material."""
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


def encrypt(material, plain):
    out = Kept()
    with primitive(material).new_encrypting_stream(out, ASSOCIATED) as stream:
        stream.write(plain)
    return out.kept


def decrypt(material, sealed):
    with primitive(material).new_decrypting_stream(io.BytesIO(sealed), ASSOCIATED) as stream:
        return stream.read()


def public(name):
    """A public key and its `kid`."""
    key = serialization.load_pem_private_key((HERE / name).read_bytes(), None).public_key()
    spki = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    x, y = (number.to_bytes(32, "big") for number in (key.public_numbers().x, key.public_numbers().y))
    return EC2Key(crv=P256, x=x, y=y), hashlib.sha256(spki).digest()


def seal():
    material, content_key, recipients = os.urandom(32), os.urandom(32), []
    for name in ("a.pem", "b.pem"):
        key, kid = public(name)
        recipient = KeyAgreementWithKeyWrap(
            phdr={Algorithm: EcdhEsA256KW}, uhdr={KID: kid}, payload=content_key
        )
        recipient.local_attrs = {StaticKey: key}
        recipients.append(recipient)
    message = EncMessage(
        phdr={Algorithm: A256GCM, ContentType: KEY_CONTENT_TYPE},
        uhdr={IV: os.urandom(12)},
        payload=material,
        external_aad=ASSOCIATED,
        recipients=recipients,
    ).encode()
    return len(message).to_bytes(4, "big") + message + encrypt(material, PLAIN)


def by_the_specification(material, header, plain):
    """<https://developers.google.com/tink/streaming-aead/aes_gcm_hkdf_streaming>"""
    salt, prefix = header[1:33], header[33:]
    key = AESGCM(HKDF(hashes.SHA256(), 32, salt, ASSOCIATED).derive(material))
    first = SEGMENT - HEADER - TAG
    segments = [plain[:first]]
    segments += [plain[at : at + SEGMENT - TAG] for at in range(first, len(plain), SEGMENT - TAG)]
    sealed = header
    for number, segment in enumerate(segments):
        last = bytes([number == len(segments) - 1])
        sealed += key.encrypt(prefix + number.to_bytes(4, "big") + last, segment, None)
    return sealed


def segments():
    material, header = bytes(range(32)), bytes([HEADER]) + bytes(range(100, 139))
    first = SEGMENT - HEADER - TAG
    second = first + SEGMENT - TAG
    for size in (0, 1, first - 1, first, first + 1, second - 1, second, second + 1, 3_000_000):
        plain = bytes(at % 251 for at in range(size))
        sealed = by_the_specification(material, header, plain)
        assert decrypt(material, sealed) == plain
        assert len(encrypt(material, plain)) == len(sealed)
        print(size, len(sealed), hashlib.sha256(sealed).hexdigest())


streaming_aead.register()
if sys.argv[1] == "seal":
    print(seal().hex())
else:
    segments()
