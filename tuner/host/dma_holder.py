"""The process that keeps /dev/cpu_dma_latency open: see ``tuner.host.dma_latency``, which starts and ends it.

It sleeps for ever and never wakes up by itself.
"""

import contextlib
import fcntl
import os
import signal
import struct
import sys

from tuner.host.dma_latency import process_name, record_text


def main() -> int:
    """``dma_holder FILE DEVICE US``: 0 where the file is gone, as nobody wants the limit any more."""
    path, device, us = sys.argv[1], sys.argv[2], int(sys.argv[3])
    for ignored in (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE):
        signal.signal(ignored, signal.SIG_IGN)
    # as the unit of systemd has it: where memory runs out, this is not what should go
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write("-900")
    try:
        record = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return 0
    fcntl.flock(record, fcntl.LOCK_EX)
    held = os.open(device, os.O_WRONLY | os.O_CLOEXEC)
    os.write(held, struct.pack("=i", us))
    boot_id = _boot_id()
    os.pwrite(record, record_text(boot_id, process_name(os.getpid())).ljust(os.fstat(record).st_size, b"\n"), 0)
    if not _still_there(path, record):
        return 0
    while True:
        signal.pause()


def _boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def _still_there(path: str, fd: int) -> bool:
    try:
        there, mine = os.lstat(path), os.fstat(fd)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)


if __name__ == "__main__":
    sys.exit(main())
