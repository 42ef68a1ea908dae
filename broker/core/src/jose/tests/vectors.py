"""Makes the values in this folder with jwcrypto, to the keys of ../../cose/tests: `pip install jwcrypto; python vectors.py`."""

import base64
import hashlib
import json
from pathlib import Path

from jwcrypto import jwe, jwk

HERE = Path(__file__).parent
PLAIN = "Müller^Jörg|19500203".encode()
CONTEXT = b"PID-5"


def b64(octets):
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


keys = [jwk.JWK.from_pem((HERE / "../../cose/tests" / f"{name}.pem").read_bytes()) for name in "ab"]
context = b64(hashlib.sha256(CONTEXT).digest())

header = {"alg": "ECDH-ES+A256KW", "enc": "A256GCM", "hilum-context": context}
compact = jwe.JWE(PLAIN, json.dumps(header), recipient=keys[0])
(HERE / "compact.txt").write_text(compact.serialize(compact=True))

parties = header | {"apu": b64(b"Alice"), "apv": b64(b"Bob")}
compact = jwe.JWE(PLAIN, json.dumps(parties), recipient=keys[0])
(HERE / "parties.txt").write_text(compact.serialize(compact=True))

flattened = jwe.JWE(PLAIN, json.dumps({"enc": "A256GCM", "hilum-context": context}), aad="more")
flattened.add_recipient(keys[0], json.dumps({"alg": "ECDH-ES+A256KW"}))
(HERE / "flattened.json").write_text(flattened.serialize())

general = jwe.JWE(PLAIN, json.dumps({"enc": "A256GCM", "hilum-context": context}), json.dumps({"alg": "ECDH-ES+A256KW"}))
for key in keys:
    general.add_recipient(key)
(HERE / "general.json").write_text(general.serialize())
