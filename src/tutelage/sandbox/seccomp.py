"""System calls that a program has no need of, refused by a filter in the kernel.

No sockets, no new processes (threads may be), no other programs, no signals to others, no memory
outside the address space that its cap counts, nothing of mounts, keys, tracing or owners of files.
A classic BPF program through prctl (man 2 seccomp), for x86-64 and 64-bit ARM.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from tutelage.sandbox.kernel import call

_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_REFUSED: dict[str, tuple[int, ...]] = {
    # socket socketpair io_uring_setup,enter,register fork vfork execve execveat kill tkill tgkill
    # rt_sigqueueinfo rt_tgsigqueueinfo pidfd_send_signal,open,getfd setpgid setsid
    "x86_64": (
        41, 53, 425, 426, 427, 57, 58, 59, 322, 62, 200, 234, 129, 297, 424, 434, 438, 109, 112,
        # ptrace process_vm_readv,writev kcmp perf_event_open bpf userfaultfd
        101, 310, 311, 312, 298, 321, 323,
        # memfd_create memfd_secret shmget shmat semget msgget mq_open
        319, 447, 29, 30, 64, 68, 240,
        # mount umount2 pivot_root chroot unshare setns open_tree move_mount fsopen fsconfig fsmount
        # fspick mount_setattr open_by_handle_at name_to_handle_at
        165, 166, 155, 161, 272, 308, 428, 429, 430, 431, 432, 433, 442, 304, 303,
        # chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat setxattr (3) removexattr (3)
        # utime utimes futimesat utimensat
        90, 91, 268, 452, 92, 93, 94, 260, 188, 189, 190, 197, 198, 199, 132, 235, 261, 280,
        # keyctl add_key request_key setpriority sched_setaffinity sched_setscheduler ioprio_set
        250, 248, 249, 141, 203, 144, 251,
        # init_module finit_module delete_module kexec_load reboot swapon quotactl acct
        # settimeofday clock_settime adjtimex sethostname personality
        175, 313, 176, 246, 169, 167, 179, 163, 164, 227, 159, 170, 135,
    ),
    "aarch64": (
        198, 199, 425, 426, 427, 221, 281, 129, 130, 131, 138, 240, 424, 434, 438, 154, 157,
        117, 270, 271, 272, 241, 280, 282,
        279, 447, 194, 196, 190, 186, 180,
        40, 39, 41, 51, 97, 268, 428, 429, 430, 431, 432, 433, 442, 265, 264,
        52, 53, 452, 54, 55, 5, 6, 7, 14, 15, 16, 88,
        219, 217, 218, 140, 122, 119, 30,
        105, 273, 106, 104, 142, 224, 60, 89, 170, 112, 171, 161, 92,
    ),
}  # fmt: skip
_CLONE = {"x86_64": 56, "aarch64": 220}
_PRLIMIT = {"x86_64": 302, "aarch64": 261}
_CLONE3 = 435
_THREAD = 0x10000
_LOAD, _EQUAL, _AT_LEAST, _ANY, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16


def program(machine: str) -> bytes:
    """The filter for a machine as os.uname names it. Raises OSError for another architecture."""
    if machine not in _ARCHITECTURES:
        raise OSError(f"no filter for {machine}")
    refuse, absent = _ERROR | errno.EPERM, _ERROR | errno.ENOSYS
    lines = [
        _line(_LOAD, _ARCHITECTURE),
        _line(_EQUAL, _ARCHITECTURES[machine], 1, 0),
        _line(_RETURN, _KILL),
        _line(_LOAD, _NUMBER),
        # Numbers of the x32 calls, which would go round the list.
        _line(_AT_LEAST, 0x40000000, 0, 1),
        _line(_RETURN, refuse),
        # Without clone3, whose flags a filter cannot read, libraries take clone.
        _line(_EQUAL, _CLONE3, 0, 1),
        _line(_RETURN, absent),
        _line(_EQUAL, _CLONE[machine], 0, 4),
        _line(_LOAD, _FIRST_ARGUMENT),
        _line(_ANY, _THREAD, 0, 1),
        _line(_RETURN, _ALLOW),
        _line(_RETURN, refuse),
        # One's own limits alone.
        _line(_EQUAL, _PRLIMIT[machine], 0, 4),
        _line(_LOAD, _FIRST_ARGUMENT),
        _line(_EQUAL, 0, 0, 1),
        _line(_RETURN, _ALLOW),
        _line(_RETURN, refuse),
    ]
    for number in _REFUSED[machine]:
        lines += [_line(_EQUAL, number, 0, 1), _line(_RETURN, refuse)]
    return b"".join([*lines, _line(_RETURN, _ALLOW)])


def install() -> None:
    """The filter put on the calling process, for good. Raises OSError."""
    code = program(os.uname().machine)
    lines = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(lines))
    told = ctypes.create_string_buffer(header, len(header))
    call("prctl", 22, ctypes.c_ulong(2), told, 0, 0)


def _line(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("HBBI", code, yes, no, value)
