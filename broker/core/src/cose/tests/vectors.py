"""How `pycose.hex` and `pycose-without-kid.hex` were made, with pycose 1.1.0, cbor2 5.9.0 and cryptography 50.0.2.

    python vectors.py seal [--without-kid]   seals to a.pem and b.pem, prints the message in hexadecimal
    python vectors.py open a.pem HEX         opens what this crate sealed
"""

import hashlib
import os
import pathlib
import sys

from cryptography.hazmat.primitives import serialization
from pycose.algorithms import A256GCM, EcdhEsA256KW
from pycose.headers import IV, KID, Algorithm, StaticKey
from pycose.keys import EC2Key
from pycose.keys.curves import P256
from pycose.messages import CoseMessage, EncMessage
from pycose.messages.recipient import KeyAgreementWithKeyWrap

HERE = pathlib.Path(__file__).parent
PLAIN = b"Helium level is 87.2 %."
ASSOCIATED = b"flow=device"


def load(name):
    """A private key, its public part and its `kid`."""
    key = serialization.load_pem_private_key((HERE / name).read_bytes(), None)
    spki = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    numbers = key.private_numbers()
    x, y, d = (
        number.to_bytes(32, "big")
        for number in (numbers.public_numbers.x, numbers.public_numbers.y, numbers.private_value)
    )
    return EC2Key(crv=P256, x=x, y=y, d=d), EC2Key(crv=P256, x=x, y=y), hashlib.sha256(spki).digest()


def seal(with_kid):
    content_key, recipients = os.urandom(32), []
    for name in ("a.pem", "b.pem"):
        _, public, kid = load(name)
        recipient = KeyAgreementWithKeyWrap(
            phdr={Algorithm: EcdhEsA256KW}, uhdr={KID: kid} if with_kid else {}, payload=content_key
        )
        recipient.local_attrs = {StaticKey: public}
        recipients.append(recipient)
    message = EncMessage(
        phdr={Algorithm: A256GCM},
        uhdr={IV: os.urandom(12)},
        payload=PLAIN,
        external_aad=ASSOCIATED,
        recipients=recipients,
    )
    return message.encode().hex()


def open_(name, sealed):
    private, _, kid = load(name)
    message = CoseMessage.decode(bytes.fromhex(sealed))
    message.external_aad = ASSOCIATED
    recipient = next(recipient for recipient in message.recipients if recipient.uhdr.get(KID) == kid)
    recipient.key = private
    return message.decrypt(recipient)


if sys.argv[1] == "seal":
    print(seal("--without-kid" not in sys.argv))
else:
    print(open_(sys.argv[2], sys.argv[3]))
