"""A process without the machine: its own view of files, processes and network, by Linux's namespaces.

System calls are made through libc: no program has to be installed, and no right is needed where users may make user
namespaces. What is here runs in a child that has been forked for it, and ends in ``execve``.
"""

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Mapping
from typing import Final

HOME: Final = "/box"
"""Empty folder that a program begins in."""

_NEW_NS, _NEW_UTS, _NEW_IPC, _NEW_USER, _NEW_PID, _NEW_NET = (
    *(0x20000, 0x4000000, 0x8000000),
    *(0x10000000, 0x20000000, 0x40000000),
)
_ALL: Final = _NEW_NS | _NEW_UTS | _NEW_IPC | _NEW_PID | _NEW_NET
_RDONLY, _NOSUID, _NODEV, _BIND, _REC, _PRIVATE = 1, 2, 4, 4096, 16384, 1 << 18
_DETACH: Final = 2
_SET_DEATH_SIGNAL, _SET_DUMPABLE, _NO_NEW_PRIVILEGES = 1, 4, 38
_MOUNT_SETATTR: Final = 442
_PIVOT_ROOT: Final = {"x86_64": 155, "aarch64": 41, "arm64": 41, "riscv64": 41, "ppc64le": 203, "s390x": 217}
_CWD, _RECURSIVE = -100, 0x8000
_BASE: Final = "/tmp"  # noqa: S108 - a folder that every machine has, to mount on; nothing is written to it

_SEEN: Final = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache")
_DEVICES: Final = ("/dev/null", "/dev/zero", "/dev/urandom")

INSIDE: Final = 65534
"""User and group that a program is within a user namespace: one without rights."""

_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: object) -> int:
    result = int(getattr(_libc, name)(*arguments))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def die_with_parent() -> None:
    """Have the kernel kill this process when the one that made it ends; only Linux can."""
    if sys.platform == "linux":
        _call("prctl", _SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)


def become(user: int) -> None:
    """Give up root for a user that owns nothing; do nothing where this is no root."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)


def enter(user: int, as_root: bool) -> None:
    """Leave this process's view of the machine; children that it makes are the first of another one.

    Args:
        user: User that root becomes before it makes a user namespace.
        as_root: True to make the others without one: the kernel counts the processes of root nowhere.

    Raises:
        OSError: This kernel, or a rule of this machine, does not let it.
    """
    if as_root:
        _call("unshare", _ALL)
        return
    become(user)
    _call("prctl", _SET_DUMPABLE, 1, 0, 0, 0)  # or its own files below /proc are another's
    user, group = os.geteuid(), os.getegid()
    _call("unshare", _ALL | _NEW_USER)
    for file, line in (
        ("setgroups", "deny"),
        ("uid_map", f"{INSIDE} {user} 1"),
        ("gid_map", f"{INSIDE} {group} 1"),
    ):
        with open(f"/proc/self/{file}", "w") as written:
            written.write(line)


def shut_in(disk_bytes: int) -> None:
    """Make a root of this Python and the system's programs, read-only, and an empty folder on a disk in memory.

    Raises:
        OSError: This kernel, or a rule of this machine, does not let it.
    """
    prefix = os.path.realpath(sys.base_prefix)
    _mount("none", "/", "", _REC | _PRIVATE)
    _mount("tmpfs", _BASE, "tmpfs", _NOSUID | _NODEV, "mode=755,size=1m")
    os.chdir(_BASE)
    os.mkdir("old")
    os.mkdir("new")
    _call("syscall", _PIVOT_ROOT[os.uname().machine], b".", b"old")
    os.chdir("/")
    _mount("tmpfs", "/new", "tmpfs", _NOSUID | _NODEV, "mode=755,size=1m")
    os.mkdir(f"/new{HOME}")
    for path in (*_SEEN, *([] if prefix.startswith("/usr") else [prefix]), *_DEVICES):
        _show(path)
    attributes = (ctypes.c_uint64 * 4)(_RDONLY | _NOSUID, 0, 0, 0)
    _call("syscall", _MOUNT_SETATTR, _CWD, b"/new", _RECURSIVE, ctypes.byref(attributes), ctypes.sizeof(attributes))
    _mount("tmpfs", f"/new{HOME}", "tmpfs", _NOSUID | _NODEV, f"mode=777,size={disk_bytes}")
    _call("umount2", b"/old", _DETACH)
    os.chroot("/new")
    os.chdir(HOME)


def limit(limits: Mapping[int, int]) -> None:
    """Set the limits of this process and of what it will be; none can be raised again."""
    _call("prctl", _NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    for kind, most in limits.items():
        _, highest = resource.getrlimit(kind)
        most = most if highest == resource.RLIM_INFINITY else min(most, highest)
        resource.setrlimit(kind, (most, most))


def _show(path: str) -> None:
    """Let a file or a folder of the machine be seen under its own name; one that is not there is left out."""
    source, target = f"/old{path}", f"/new{path}"
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if os.path.islink(source):
        os.symlink(os.readlink(source), target)
    elif os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
        _mount(source, target, "", _BIND | _REC)
    elif os.path.exists(source):
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
        _mount(source, target, "", _BIND | _REC)


def _mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    names = [os.fsencode(one) for one in (source, target, kind)]
    _call("mount", *names, ctypes.c_ulong(flags), os.fsencode(data) if data else None)
