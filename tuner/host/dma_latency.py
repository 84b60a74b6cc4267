"""/dev/cpu_dma_latency: a limit that is in force while somebody keeps the device open, so a process of its own keeps it.

Source: kernel/power/qos.c: a write of four bytes is a binary number of µs (any other length is hexadecimal text), a read of any
descriptor gives the least of all limits, and to open it without writing limits nothing.

Whoever holds ours is known by a file, ``dma-latency-2us`` below /run/quietcore, that is made before the holder starts:

* the holder (``tuner.host.dma_holder``) locks the file, opens the device, writes its name (``PID:START``) into the file, and
  then looks whether the file is still there; if not, it ends;
* who ends it removes the file, and then ends the process that the file names.

So in whatever order these happen, and whoever is killed between them, no holder stays that no file names. A holder that died
leaves its file behind, by which it is missed.
"""

import contextlib
import errno
import json
import os
import re
import select
import signal
import stat
import struct
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess

DEVICE = "/dev/cpu_dma_latency"
MISC = "/sys/class/misc/cpu_dma_latency"  # there where the kernel has the device, also in a sandbox without devices
DIRECTORY = "/run/quietcore"
SYSTEMD_RUN = "/usr/bin/systemd-run"
_NAME = re.compile(r"dma-latency-(\d{1,10})us")
_START_S = 10.0
_END_S = 2.0
# It needs one device and one directory, and nothing else that a process can have.
UNIT = (
    "Type=exec",
    "Slice=system.slice",
    "Restart=on-abnormal",
    "RestartSec=100ms",
    "OOMScoreAdjust=-900",
    "UMask=0077",
    "CapabilityBoundingSet=",
    "NoNewPrivileges=yes",
    "DevicePolicy=closed",
    f"DeviceAllow={DEVICE} rw",
    "ProtectSystem=strict",
    "ProtectHome=read-only",
    f"ReadWritePaths={DIRECTORY}",
    "PrivateNetwork=yes",
    "PrivateIPC=yes",
    "ProtectKernelTunables=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelLogs=yes",
    "ProtectControlGroups=yes",
    "ProtectHostname=yes",
    "RestrictAddressFamilies=AF_UNIX",  # `none` is EINVAL to a transient unit of systemd 252
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "LockPersonality=yes",
    "MemoryDenyWriteExecute=yes",
    "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service",
    "SystemCallErrorNumber=EPERM",
)


@dataclass(frozen=True, slots=True)
class DmaLatency:
    """What is held, in µs.

    Attributes:
        held_us: by our own process; None where there is none.
        effective_us: the least that anybody holds, 2 000 000 000 where nobody does; None where it cannot be seen from here.
        ended: for people: which process of ours held something and is gone; empty where none is missed.
    """

    held_us: int | None
    effective_us: int | None
    ended: str = ""


class Holders:
    """The processes that hold a limit for us: one at most, but while one takes over from another.

    Args:
        boot_id: of this boot; a file of another says nothing any more.
        known: the kernel has the device, even where it cannot be seen from here.
        directory: where the holders' files lie.
        device: what is held.
    """

    def __init__(self, boot_id: str, known: bool = False, directory: str = DIRECTORY, device: str = DEVICE) -> None:
        self._boot_id = boot_id
        self._known = known
        self._directory = directory
        self._device = device

    def read(self) -> DmaLatency:
        """What is held now.

        Raises:
            FileNotFoundError: this kernel has no such device.
            PermissionError: only root may open it.
        """
        held: list[int] = []
        ended = []
        for us, process in self._named():
            if alive(process):
                held.append(us)
            elif process:
                ended.append(f"process {process.partition(':')[0]}, which held {us} µs, ended")
        return DmaLatency(min(held, default=None), self._effective(), "; ".join(ended))

    def hold(self, us: int) -> None:
        """Has a process hold ``us`` and nothing else. Where one does already, nothing happens.

        Raises:
            OSError: it did not come up within ten seconds; what held before still does.
        """
        if not 0 <= us < 1 << 31:
            raise ValueError(f"{us} is no latency in µs")
        if not any(us == other and alive(process) for other, process in self._named()):
            self._start(us)
        for other, _ in self._named():
            if other != us:
                self._end(other)

    def release(self) -> None:
        """Ends whatever holds something for us.

        Raises:
            OSError: a process could not be ended.
        """
        for us, _ in self._named():
            self._end(us)

    def _effective(self) -> int | None:
        try:
            fd = os.open(self._device, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            if self._known:  # a sandbox without devices: what we hold shows all the same
                return None
            raise
        try:
            return int(struct.unpack("=i", os.read(fd, 4))[0])
        finally:
            os.close(fd)

    def _path(self, us: int) -> str:
        return f"{self._directory}/dma-latency-{us}us"

    def _named(self) -> list[tuple[int, str]]:
        """(µs, PID:START) of each file of this boot; the process is empty where its holder has not come up yet."""
        try:
            names = sorted(os.listdir(self._directory))
        except FileNotFoundError:
            return []
        found = []
        for match in filter(None, map(_NAME.fullmatch, names)):
            with contextlib.suppress(FileNotFoundError):
                record = _record(f"{self._directory}/{match[0]}")
                if record.get("boot") == self._boot_id:
                    found.append((int(match[1]), str(record.get("process", ""))))
        return found

    def _start(self, us: int) -> None:
        path = self._path(us)
        self._effective()  # what forbids it to us forbids it to the holder
        self._make(path)
        command = [sys.executable, "-I", "-m", "tuner.host.dma_holder", path, self._device, str(us)]
        reason = ""
        if self._directory == DIRECTORY and os.path.isdir("/run/systemd/system") and os.access(SYSTEMD_RUN, os.X_OK):
            reason = _as_unit(us, command)
            if not reason and self._up(path, None):
                return
            reason = reason or " (its unit did not come up either)"
        import subprocess

        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
            env={},
        )
        if not self._up(path, child):
            self._end(us)
            with contextlib.suppress(OSError):
                child.kill()
            status = child.wait()
            raise OSError(errno.ECHILD, f"the process that holds {us} µs did not come up (status {status}){reason}", path)
        child.returncode = 0  # it lives on: its end is init's to see

    def _make(self, path: str) -> None:
        with contextlib.suppress(FileExistsError):
            os.mkdir(self._directory, 0o755)
        status = os.lstat(self._directory)
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
            raise PermissionError(errno.EPERM, "is not a directory of this user's that nobody else may write", self._directory)
        # whoever starts up by an older file finds it gone, and ends
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.write(fd, record_text(self._boot_id, ""))
        finally:
            os.close(fd)

    @staticmethod
    def _up(path: str, child: "subprocess.Popen[bytes] | None") -> bool:
        """Waits until the file names a holder that lives; False where its process ended, or took too long."""
        deadline = time.monotonic() + _START_S
        while True:
            with contextlib.suppress(FileNotFoundError):
                if alive(str(_record(path).get("process", ""))):
                    return True
            if time.monotonic() >= deadline or (child is not None and child.poll() is not None):
                return False
            time.sleep(0.005)

    def _end(self, us: int) -> None:
        path = self._path(us)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return
        try:
            os.unlink(path)
            # only now: a holder that has not written its name by now finds no file, and ends
            end_process(str(_parsed(os.pread(fd, 4096, 0)).get("process", "")))
        finally:
            os.close(fd)


def record_text(boot_id: str, process: str) -> bytes:
    """The content of a holder's file."""
    return json.dumps({"boot": boot_id, "process": process}).encode() + b"\n"


def _record(path: str) -> dict[str, object]:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        return _parsed(os.read(fd, 4096))
    finally:
        os.close(fd)


def _parsed(content: bytes) -> dict[str, object]:
    try:
        record = json.loads(content)
    except ValueError:  # being written at this moment
        return {}
    return record if isinstance(record, dict) else {}


def process_name(pid: int) -> str:
    """``PID:START`` of a process that runs; empty where there is none, or what is left of it waits to be buried."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else f"{pid}:{fields[19]}"
    except (OSError, IndexError):
        return ""


def alive(process: str) -> bool:
    """Whether the process of that ``PID:START`` runs: numbers are used again."""
    pid, _, start = process.partition(":")
    return pid.isascii() and pid.isdigit() and len(pid) < 10 and bool(start) and process_name(int(pid)) == process


def end_process(process: str) -> None:
    """Ends the process of that ``PID:START``, and no other that has its number by now.

    Raises:
        OSError: it may not be signalled, or does not end.
    """
    if not alive(process):
        return
    try:
        fd = os.pidfd_open(int(process.partition(":")[0]))
    except ProcessLookupError:
        return
    try:
        if not alive(process):
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(fd, number)
            if select.select([fd], [], [], _END_S)[0]:
                return
        raise OSError(errno.EBUSY, f"process {process.partition(':')[0]} does not end")
    finally:
        os.close(fd)


def _as_unit(us: int, command: list[str]) -> str:
    """Starts the holder as a transient unit of the system; why that was not possible, or nothing."""
    import subprocess

    words = [SYSTEMD_RUN, "--quiet", "--collect", "--no-ask-password", f"--unit=quietcore-dma-latency-{us}us.service"]
    words += [f"--description=Quietcore: holds a CPU exit latency of {us} µs"]
    words += [f"--property={line}" for line in UNIT]
    try:
        done = subprocess.run([*words, "--", *command], env={}, capture_output=True, check=False, timeout=_START_S + 5)
    except (OSError, subprocess.SubprocessError) as error:
        return f" (systemd did not take it: {error})"
    return "" if done.returncode == 0 else f" (systemd did not take it: {done.stderr.decode(errors='replace').strip()[:200]})"
