"""Certificates for a Dask cluster that only its own members can join: an authority, and a pair for each role.

    python deploy/certificates.py FOLDER [HOST …]

writes a folder for each of scheduler, worker and client, with ca.pem, a certificate ROLE.pem and its key ROLE.key, good
for a year. A process gets the folder of its role and no other. Whoever has ca.pem and a pair is a member: keep keys
secret, and never in a repository. The authority's own key is not kept, so a further member means a new set.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ROLES = ("scheduler", "worker", "client")
DAYS = 365


def write_certificates(folder: Path, hosts: Sequence[str] = ()) -> None:
    """Write a new set into the folder, which must not have one. ``hosts`` are names put into the certificates.

    Raises:
        FileExistsError: there is one already.
    """
    authority = ec.generate_private_key(ec.SECP256R1())
    root = _certificate("gliolake", authority, None, authority, hosts)
    for role in ROLES:
        own = folder / role
        own.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (own / "ca.pem").open("xb") as file:
            file.write(root.public_bytes(serialization.Encoding.PEM))
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate(role, key, root, authority, hosts)
        (own / f"{role}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        with open(own / f"{role}.key", "wb", opener=_for_owner) as file:
            file.write(secret)


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate | None,
    signer: ec.EllipticCurvePrivateKey,
    hosts: Sequence[str],
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=DAYS))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in (name, *hosts)]), critical=False)
    )
    return builder.sign(signer, hashes.SHA256())


def _for_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    try:
        write_certificates(Path(sys.argv[1]), sys.argv[2:])
    except FileExistsError as error:
        sys.exit(f"{error.filename} is there already; give another folder.")
    print(f"{sys.argv[1]}: a folder with ca.pem, ROLE.pem and ROLE.key for each of {', '.join(ROLES)}.")
