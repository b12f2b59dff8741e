"""Becomes another program, with its life tied to its parent's: ``launcher.py PARENT SIGNAL USER PROGRAM ...``.

Run as a file of its own between a parent and its child, so that nothing happens between fork and exec in a process that
has threads. When the parent dies, however it dies, the kernel sends SIGNAL to the child (Linux, prctl(2)).

USER ``ordinary`` is for a program that refuses to be root: it then runs in a user namespace, in which root's files are
those of an ordinary user. Nothing has to be copied or given away. Where the kernel forbids that, it becomes the user
``nobody``, who must be able to reach its files. USER ``same`` changes nothing.
"""

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1
_NAMESPACE_UID = 1000
_NOBODY = 65_534


def main(arguments: list[str]) -> None:
    parent, signal_number, user, *program = arguments
    if user == "ordinary" and os.geteuid() == 0:
        _leave_root()
    _tie_to(int(parent), int(signal_number))
    os.execvp(program[0], program)  # noqa: S606  # to become the program is what this file is for


def _leave_root() -> None:
    try:
        os.unshare(os.CLONE_NEWUSER)
    except OSError:
        os.setgroups([])
        os.setgid(_NOBODY)
        os.setuid(_NOBODY)
        return
    for name, content in (
        ("setgroups", "deny"),
        ("uid_map", f"{_NAMESPACE_UID} 0 1"),
        ("gid_map", f"{_NAMESPACE_UID} 0 1"),
    ):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as control:  # noqa: PTH123  # pathlib starts slower
            control.write(content)


def _tie_to(parent: int, signal_number: int) -> None:
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0)
    # The parent may have died before the kernel was asked.
    if os.getppid() != parent:
        raise SystemExit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
