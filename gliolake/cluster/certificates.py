"""TLS certificates of one run: only processes that have them can send tasks to its workers.

Each cluster that a command starts gets new ones. All accounts of a machine can reach its ports, so local clusters need
them too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from gliolake.process.signals import temporary_folder

if TYPE_CHECKING:
    from distributed import Security

ROLES = ("scheduler", "worker", "client")


@contextmanager
def certificates_in(folder: str | Path) -> Iterator[Security]:
    """Certificates for one run as files (PEM) below this folder, for workers that are started by a command line.

    Only their owner can read them, and they are gone afterwards.
    """
    from distributed import Security

    made = Security.temporary().get_tls_config_for_role("scheduler")
    with temporary_folder("tls", within=folder) as own:
        files = {name: own / f"{name}.pem" for name in ("ca_file", "cert", "key")}
        for name, file in files.items():
            file.write_text(made[name], "ascii")
        pairs = {f"tls_{role}_{name}": str(files[name]) for role in ROLES for name in ("cert", "key")}
        yield Security(tls_ca_file=str(files["ca_file"]), require_encryption=True, **pairs)
