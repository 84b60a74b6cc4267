"""Starting the undo timer where it outlives everything.

Where systemd is PID 1 (sd_booted(3): /run/systemd/system is there) it is a transient unit of the system: logind ends what a
session leaves behind (KillUserProcesses=), and a unit of the system belongs to no session. Elsewhere, and where systemd does
not take the unit, it is a process in a session of its own.
"""

import os
import select
import subprocess
import sys
import zlib
from pathlib import Path

SYSTEMD_RUN = "/usr/bin/systemd-run"
UNIT_FILE = Path(__file__).resolve().parent / "units" / "quietcore-undo.service"
READY = b"armed"
_START_S = 10.0


def arm(root: str, state: str, number: int) -> str:
    """Starts the timer of one transaction and returns once it stands: what it is, for people.

    Args:
        root: the host's root.
        state: the state directory.
        number: the transaction that it may undo.

    Raises:
        OSError: it did not come up within ten seconds; nothing runs.
    """
    reason = ""
    if root == "/" and os.path.isdir("/run/systemd/system") and os.access(SYSTEMD_RUN, os.X_OK):
        try:
            return f"unit {_as_unit(state, number)}"
        except (OSError, subprocess.SubprocessError) as error:
            reason = f" (systemd did not take it: {error})"
    return f"process {_detached(root, state, number)}{reason}"


def _command(root: str, state: str, number: int) -> list[str]:
    return [sys.executable, "-I", "-m", "tuner.deadman", "--root", root, "--state", state, str(number)]


def _as_unit(state: str, number: int) -> str:
    # another state directory counts its transactions apart
    name = f"quietcore-undo-{number}-{zlib.crc32(os.fsencode(state)):08x}.service"
    words = [SYSTEMD_RUN, "--quiet", "--collect", "--no-ask-password", f"--unit={name}"]
    words += [f"--description=Quietcore: undo transaction {number} unless it is confirmed"]
    words += [f"--property={line}" for line in unit_properties(state)]
    done = subprocess.run(
        [*words, "--", *_command("/", state, number)], env={}, capture_output=True, check=False, timeout=_START_S + 5
    )
    if done.returncode != 0:
        raise OSError(3, done.stderr.decode(errors="replace").strip()[:300] or f"status {done.returncode}")
    return name


def unit_properties(state: str) -> list[str]:
    """The lines of the shipped unit's [Service] section, but for what it runs, as ``systemd-run --property`` takes them."""
    properties = []
    section = ""
    for raw in UNIT_FILE.read_text(encoding="utf-8").splitlines():
        line = raw.strip()
        if line.startswith("["):
            section = line
        elif section == "[Service]" and line and line[0] not in "#;" and not line.startswith("ExecStart="):
            properties.append(line.replace("@STATE@", state))
    return properties


def _detached(root: str, state: str, number: int) -> int:
    receiver, sender = os.pipe()
    log = os.open(os.path.join(state, "undo.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    command = _command(root, state, number)
    try:
        process = subprocess.Popen(
            [*command[:-1], "--ready-fd", str(sender), command[-1]],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(sender,),
            start_new_session=True,
            cwd="/",
            env={},
        )
        os.close(sender)
        sender = -1
        ready, _, _ = select.select([receiver], [], [], _START_S)
        if not ready or os.read(receiver, len(READY)) != READY:
            process.kill()
            raise OSError(3, f"the undo timer did not start; see {os.path.join(state, 'undo.log')}")
        return process.pid
    finally:
        os.close(receiver)
        os.close(log)
        if sender >= 0:
            os.close(sender)
