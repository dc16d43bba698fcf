"""The settings file gliolake.toml: the cluster that commands use unless options say otherwise.

`gliolake --config FILE` or GLIOLAKE_CONFIG names it, else it lies in the user's configuration folder. The current
folder is not searched: folders of scans are untrusted, and a settings file runs commands. Its keys are named like the
options of the commands, and the options win. An annotated one is ``deploy/gliolake.toml``.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

from gliolake import limits
from gliolake.errors import InputError, unknown_name
from gliolake.process.isolation import NOWHERE
from gliolake.toml_file import Check, FilePath, Positive, Table, Texts, Wrong, at_least, load_toml, read_table

FILE = "gliolake.toml"
VARIABLE = "GLIOLAKE_CONFIG"
EMBEDDED, SLURM, KUBERNETES = KINDS = ("embedded", "slurm", "kubernetes")
"""Clusters that a command starts for itself; any other word is the address of one that is up."""


def _known_cluster(given: str) -> str:
    if given not in KINDS and ":" not in given:
        raise Wrong(f"is {given!r}; expected {', '.join(KINDS)} or an address, e.g. tls://host:8786",
                    value=given, known=KINDS)  # fmt: skip
    return given


def _there(file: Path) -> Path:
    if not file.is_file():
        raise Wrong(f"names {file}, which is no file")
    return file


ThereFile = Annotated[FilePath, Check(_there)]


@dataclass(frozen=True, kw_only=True)
class Tls(Table):
    """Files (PEM) by which a client and the scheduler of a tls:// address know each other."""

    ca_file: ThereFile
    certificate: ThereFile
    key: ThereFile


@dataclass(frozen=True, kw_only=True)
class SlurmJob(Table):
    """One SLURM job: ``processes`` workers that share ``memory``.

    queue, account, walltime, directives: of the job; "" and () leave them to SLURM. directives are lines after #SBATCH.
    prologue: shell lines before the workers start. python: their interpreter; this one where "".
    interface: the network interface to talk through. worker_arguments: further options of ``dask worker``.
    local_directory: where workers spill; a disk of the node. log_directory: where jobs write their logs.
    shared_directory: where certificates for this run lie, seen from all nodes; the home's cache where "".
    tls: whether traffic is encrypted.
    """

    memory: str
    processes: Positive = 1
    queue: str = ""
    account: str = ""
    walltime: str = "01:00:00"
    interface: str = ""
    python: str = ""
    local_directory: str = ""
    log_directory: str = ""
    shared_directory: str = ""
    prologue: Texts = ()
    directives: Texts = ()
    worker_arguments: Texts = ()
    tls: bool = True


@dataclass(frozen=True, kw_only=True)
class KubernetesPods(Table):
    """Pods that the Dask operator starts for a run.

    image: gliolake's (deploy/Dockerfile). namespace: the client's own where "". cpu, memory: what a pod asks for and
    may use. claim: a PersistentVolumeClaim, mounted at ``mount``. secret: whose entries become environment variables,
    e.g. of a bucket. idle_seconds: an abandoned cluster removes itself.
    """

    image: str
    namespace: str = ""
    cpu: str = "1"
    memory: str = "4Gi"
    claim: str = ""
    mount: str = "/lake"
    secret: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    worker_arguments: Texts = ()
    idle_seconds: Annotated[int, at_least(0)] = 600


@dataclass(frozen=True, kw_only=True)
class ClusterSettings(Table):
    """Where a command's tasks run.

    Attributes:
        scheduler: One of ``KINDS``, or an address.
        workers: Worker processes to start; where None, as many as fit this machine, or one elsewhere.
        threads: Tasks that a worker has under way at once; one where None.
        least, most: Bounds between which the number of workers follows the work. ``least`` None is 1; ``most`` 0
            leaves it at ``workers``.
        dashboard: Whether Dask's pages are served on this machine, where all its accounts can read them.
        patience: Seconds for which a command goes on without any worker, of SLURM or Kubernetes from the start.
    """

    scheduler: Annotated[str, Check(_known_cluster)] = EMBEDDED
    workers: Positive | None = None
    threads: Positive | None = None
    least: Positive | None = None
    most: Annotated[int, at_least(0)] = 0
    dashboard: bool = False
    patience: Positive = 600
    tls: Tls | None = None
    slurm: SlurmJob | None = None
    kubernetes: KubernetesPods | None = None

    def __post_init__(self) -> None:
        if self.most and self.workers:
            raise Wrong("fixes their number, and 'most' lets it follow the work; leave one out", key="workers")
        if self.least and not self.most:
            raise Wrong("needs a 'most' beside it", key="least")
        if self.least and self.most < self.least:
            raise Wrong(f"is {self.most}, below 'least', which is {self.least}", key="most")


@dataclass(frozen=True, kw_only=True)
class SettingsFile(Table):
    """gliolake.toml."""

    cluster: ClusterSettings = field(default_factory=ClusterSettings)


def choose_cluster(
    scheduler: str | None = None, workers: int | None = None, threads: int | None = None
) -> ClusterSettings:
    """What the options of a command say, and for what they leave out, the settings file.

    Raises:
        InputError: an option or the file is faulty.
    """
    for option, value in (("--workers", workers), ("--threads", threads)):
        if value is not None and value < 1:
            raise InputError(f"{option} is {value}; it has to be at least 1.")
    file = settings_file()
    found = read_settings(file) if file else ClusterSettings()
    if scheduler is not None:
        if scheduler not in KINDS and ":" not in scheduler:
            hint = "A running one is an address, e.g. tls://host:8786."
            raise unknown_name("cluster", scheduler, KINDS, hint=hint)
        found = replace(found, scheduler=scheduler)
    if workers is not None:
        found = replace(found, workers=workers, least=None, most=0)
    if threads is not None:
        found = replace(found, threads=threads)
    for kind, section in ((SLURM, found.slurm), (KUBERNETES, found.kubernetes)):
        if found.scheduler == kind and section is None:
            raise InputError(
                f"Nothing says how workers are started on {kind}.",
                hint=f"Add a section [cluster.{kind}] to {file or home_file()}; deploy/gliolake.toml shows one."
                + unread(),
            )
    return found


def settings_file() -> Path | None:
    """The settings file: what GLIOLAKE_CONFIG names (none where it is empty), else ``home_file``, if it is there.

    Raises:
        InputError: the file named is not there.
    """
    named = os.environ.get(VARIABLE)
    if named is None:
        file = home_file()
        return file if file.exists() else None
    if named and not Path(named).is_file():
        raise InputError(f"{VARIABLE} or --config names {named}, which is no file.", hint="Correct or unset it.")
    return Path(named) if named else None


def home_file() -> Path:
    """``$XDG_CONFIG_HOME/gliolake/gliolake.toml``, else ``~/.config/gliolake/gliolake.toml``."""
    home = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    if not home.is_absolute():
        try:
            home = Path.home() / ".config"
        except RuntimeError:  # this account has none
            home = Path(NOWHERE)
    return home / "gliolake" / FILE


def unread() -> str:
    """What to say to who left a settings file in the current folder; "" where there is none."""
    with suppress(OSError):  # of a folder that may not be looked into
        if Path(FILE).is_file():
            return f" ./{FILE} is not read unless --config names it."
    return ""


def _trusted(file: Path) -> str:
    """What the file says, if nobody but this account and root can have written it.

    Raises:
        InputError: somebody else can, or it cannot be read.
    """
    try:
        with limits.open_regular(file) as stream:
            found = os.fstat(stream.fileno())
            text = stream.read(limits.DESCRIPTION).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read: {error}.", hint="Give a UTF-8 TOML file.") from error
    if found.st_uid not in {0, os.geteuid()}:
        hint = "Read it; if you trust it, make a copy that is yours and name that."
        raise InputError(f"{file} belongs to somebody else, and what it says is run.", hint=hint)
    if found.st_mode & 0o022:
        hint = f"Run: chmod go-w {shlex.quote(str(file))}"
        raise InputError(f"Others may write to {file}, and what it says is run.", hint=hint)
    return text


def read_settings(file: Path) -> ClusterSettings:
    """The settings in a file. Relative paths start at its folder.

    Raises:
        InputError: others can write the file, it is no TOML, or keys of it are faulty; the nearest keys are named.
    """
    return read_table(load_toml(_trusted(file), str(file)), SettingsFile, str(file)).cluster
