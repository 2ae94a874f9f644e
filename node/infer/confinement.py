"""What a model process gives up before it loads anything: the network, writing to its model, living on alone."""

from __future__ import annotations

import ctypes
import errno
import faulthandler
import os
import resource
import signal
from contextlib import suppress
from pathlib import Path

#: prctl(2): the signal that this process gets when its parent dies.
_PR_SET_PDEATHSIG = 1
#: Of all processes of the node the kernel should end this one first when memory runs out (proc(5)).
_OOM_SCORE = "500"
#: unshare(2): namespaces of its own for mounts, users and networks.
_NEW_MOUNTS, _NEW_USERS, _NEW_NETWORK = 0x0002_0000, 0x1000_0000, 0x4000_0000
#: mount(2).
_READ_ONLY, _REMOUNT, _BIND, _RECURSIVE, _PRIVATE = 0x1, 0x20, 0x1000, 0x4000, 0x4_0000
#: A mask is some hundred megabytes: what grows beyond this is no result (setrlimit(2)).
_LARGEST_FILE_BYTES = 16 << 30


def be_expendable() -> None:
    """Leave no core (it would hold a patient's images), and be the first to go where memory runs out."""
    faulthandler.enable()
    # An orderly end is the end of standard input: a signal to the whole group must not cost a study.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _lower(resource.RLIMIT_FSIZE, _LARGEST_FILE_BYTES)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)


def confine(folder: Path, data: Path | None = None, results: Path | None = None) -> str:
    """Cut the process off from every network, make `folder` read-only for it, and let it die with its parent.

    Of the folder `data` it can write to `results` alone: neither to images and the store, nor to what says which models
    are trusted and which engine is right.

    Must come before any thread. Where the system permits no namespaces the process runs without them: the line that
    is returned says so.
    """
    parent = os.getppid()
    told = _confined(folder, data, results)
    # After the namespaces: the change of credentials forgets it.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # it died before we asked
    return told


def _confined(folder: Path, data: Path | None, results: Path | None) -> str:
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    if libc.unshare(_NEW_USERS | _NEW_MOUNTS | _NEW_NETWORK):
        return f"the network is within reach: no namespaces are permitted here ({_error()})"
    try:
        # It stays who it was (user_namespaces(7)).
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    except OSError as error:
        return f"no network; its model can be written to ({error.strerror})"
    # What stays writable is a mount of its own before what lies around it is not.
    if (
        libc.mount(None, b"/", None, _RECURSIVE | _PRIVATE, None)
        or not (results is None or _bound(libc, results))
        or not _made_read_only(libc, folder)
    ):
        return f"no network; its model can be written to ({_error()})"
    if data is None:
        return "no network, its model read-only"
    if not _made_read_only(libc, data):
        return f"no network, its model read-only; the node's data can be written to ({_error()})"
    # Where it stands now is still the place without these mounts.
    os.chdir(Path.cwd())
    return "no network, its model and the node's data read-only, but for its results"


def _bound(libc: ctypes.CDLL, folder: Path) -> bool:
    """Make a folder a mount of its own."""
    place = os.fsencode(folder)
    return not libc.mount(place, place, None, _BIND | _RECURSIVE, None)


def _made_read_only(libc: ctypes.CDLL, folder: Path) -> bool:
    flags = _REMOUNT | _BIND | _READ_ONLY
    return _bound(libc, folder) and not libc.mount(None, os.fsencode(folder), None, flags | _flags_of(folder), None)


def _flags_of(folder: Path) -> int:
    """Mount flags that an owner of another namespace has locked (mount_namespaces(7)): they must be given again."""
    return os.statvfs(folder).f_flag & (os.ST_NOSUID | os.ST_NODEV | os.ST_NOEXEC | os.ST_NOATIME | os.ST_NODIRATIME)


def _lower(limit: int, value: int) -> None:
    """Set a limit of this process, never above the one that holds."""
    _, hard = resource.getrlimit(limit)
    lowest = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(limit, (lowest, lowest))


def _error() -> str:
    number = ctypes.get_errno()
    return f"{errno.errorcode.get(number, number)}: {os.strerror(number)}"
