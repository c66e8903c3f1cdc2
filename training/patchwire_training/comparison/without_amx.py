"""Runs a script without AMX, to measure a processor as one with VNNI alone.

``python -m patchwire_training.comparison.without_amx bench_peers.py --rounds 5``

Linux lets a process use the tiles only after a request, and libraries that are refused compute without them. The
request is refused here before any library is loaded, also to processes that the script starts; ours is told so by name.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import runpy
import struct
import sys

ARCH_PRCTL, ARCH_REQ_XCOMP_PERM = 158, 0x1023
"""The system call of x86-64, and its operation that asks for the tiles."""
TILES = 18
"""Their number among the parts of a processor's state."""
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO = 0x7FFF0000, 0x00050000
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
"""Instructions of classic BPF: a 32-bit word of the call, a comparison with a constant, the verdict."""
NUMBER, FIRST_ARGUMENT = 0, 16
"""Offsets in `struct seccomp_data`."""


class Program(ctypes.Structure):
    """`struct sock_fprog`."""

    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def hide() -> None:
    """Refuses this process and its children the tiles; OSError where the kernel has no such filter."""
    if platform.machine() != "x86_64":
        return
    steps = [
        (LOAD, 0, 0, NUMBER),
        (JUMP_IF_EQUAL, 0, 3, ARCH_PRCTL),
        (LOAD, 0, 0, FIRST_ARGUMENT),
        (JUMP_IF_EQUAL, 0, 1, ARCH_REQ_XCOMP_PERM),
        (RETURN, 0, 0, SECCOMP_RET_ERRNO | errno.EPERM),
        (RETURN, 0, 0, SECCOMP_RET_ALLOW),
    ]
    code = b"".join(struct.pack("HBBI", *step) for step in steps)
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
    program = Program(len(steps), code)
    for call in [
        (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(program), 0, 0),
    ]:
        if prctl(*call):
            raise OSError(ctypes.get_errno(), "prctl refuses a filter of system calls")


def allowed() -> bool:
    """Whether this process may use the tiles of its processor; it may then until it ends."""
    return platform.machine() == "x86_64" and ctypes.CDLL(None).syscall(ARCH_PRCTL, ARCH_REQ_XCOMP_PERM, TILES) == 0


def main() -> None:
    """Run the script that the arguments name, with those that follow."""
    if len(sys.argv) < 2:
        sys.exit("usage: without_amx SCRIPT [ARGUMENT]...")
    hide()
    os.environ.setdefault("PATCHWIRE_KERNEL", "avx512vnni")
    del sys.argv[0]
    sys.path.insert(0, os.path.dirname(os.path.abspath(sys.argv[0])))
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
