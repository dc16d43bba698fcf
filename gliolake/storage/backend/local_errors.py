"""Error messages for the storage of a lake on a disk or a network share, with hints."""

from __future__ import annotations

import errno
import os

from gliolake.errors import GliolakeError, InputError, ReadOnlyLake, StorageFull, StorageUnreachable, UnsuitedStorage

AGAIN = "then run the same command again; it goes on from here."

_FULL = {
    errno.ENOSPC: f"Free some space, {AGAIN}",
    errno.EDQUOT: f"Your quota there is used up: have it raised, or free some space, {AGAIN}",
    errno.EFBIG: f"A file may not become as large there: raise the limit (`ulimit -f`), or use another disk, {AGAIN}",
}
_READ_ONLY = {
    errno.EROFS: "Reading works; to write, mount it writable.",
    errno.EACCES: "Reading works; to write, be given the right to write in that folder and all in it.",
    errno.EPERM: "Its owner or system forbids changes, e.g. by an attribute that `lsattr` shows. Reading works.",
}
_SILENT = {
    errno.ESTALE: "The network share was exported or mounted anew: mount it again, " + AGAIN,
    errno.EMFILE: f"This process may open too few files: raise the limit (`ulimit -n`), {AGAIN}",
    errno.ENFILE: f"This machine has too many files open: end other programs, {AGAIN}",
    errno.ENOENT: "Its folder was moved or deleted while it was open: bring it back, " + AGAIN,
    errno.ENOTDIR: "A file stands where a folder has to be on the way to it: name another place, " + AGAIN,
    errno.ENOMEM: f"The machine is out of memory: end other programs, {AGAIN}",
}
_UNSUITED = {
    errno.EINVAL: "Its file system does not allow a name, or an operation, that a lake needs.",
    errno.EILSEQ: "Its file system does not allow a letter of a name that a lake needs.",
    errno.ENOTSUP: "Its file system lacks an operation that a lake needs.",
    errno.ENOSYS: "Its file system lacks an operation that a lake needs.",
    errno.ELOOP: "Links there lead round in a circle.",
}
_OTHER_DISK = "Keep the lake on a disk of Linux (ext4, XFS, Btrfs, ZFS), on NFS, or in an object store."


def in_words(error: OSError, root: str, size: int = 0) -> GliolakeError:
    """The error of the lake at ``root`` for what the system said; ``size`` is how many bytes were to be written."""
    number, said = error.errno or 0, error.strerror or str(error)
    if number in _FULL:
        what = f"No space is left for the lake at {root}: {size:,} bytes could not be written"
        return StorageFull(f"{what} ({said}).", hint="Nothing was committed. " + _FULL[number])
    if number in _READ_ONLY:
        return ReadOnlyLake(
            f"The lake at {root} cannot be written to: {said}.", hint="Nothing was committed. " + _READ_ONLY[number]
        )
    if number == errno.ENAMETOOLONG:
        what = f"A name is too long for the file system of the lake at {root}"
        return InputError(f"{what}.", hint="Nothing was committed. Choose a shorter name for the cohort or experiment.")
    if number in _UNSUITED:
        return UnsuitedStorage(f"{root} cannot hold a lake: {said}.", hint=f"{_UNSUITED[number]} {_OTHER_DISK}")
    advice = _SILENT.get(number, f"Look after the disk or the network share (`dmesg` may say more), {AGAIN}")
    name = errno.errorcode.get(number, "")
    return StorageUnreachable(
        f"The storage of the lake at {root} failed: {said} ({name}).", hint="No commit is half made. " + advice
    )


def not_synced(root: str, error: OSError) -> StorageUnreachable:
    """For a commit that is made, and of which nobody knows whether a power cut would undo it."""
    return StorageUnreachable(
        f"A commit was made in the lake at {root}, and could not be synced: {error.strerror or error}.",
        hint="A power cut may undo it as a whole. Look after the disk, then run the same command again.",
    )


def no_way_to_create(root: str, error: OSError) -> UnsuitedStorage:
    """For a file system on which two writers could take the same name without a word."""
    return UnsuitedStorage(
        f"{root} cannot hold a lake: its file system has no hard links ({os.strerror(error.errno or 0)}), and cannot "
        "rename a file only if the new name is free.",
        hint=f"Two commands at once could overwrite each other's commits there. {_OTHER_DISK}",
    )
