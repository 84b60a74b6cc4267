"""Apply, verify, keep and undo by keys alone, over a serial line: ``python tests/lab/serial_line.py LAB``.

The guest's second UART is a socket here, as a console server's port is. What is typed goes down the line one key at a time, and
what the app is asserted to show was read off the line. Whether the host really changed is told by ``guest_serial.py`` in the
guest: ethtool, /proc/irq, the journals. At last the line hangs up in the countdown, and everything has to be undone.
"""

import contextlib
import json
import os
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.lab.screen import Screen

GUEST = Path(__file__).with_name("guest_serial.py")
TIMEOUT_S = 900
_KEY_S = 0.1  # between two keys: a UART holds sixteen characters, and an emulated CPU is slow
_PATIENCE_S = 120.0
KEYS = {"enter": "\r", "down": "\x1b[B", "space": " ", "escape": "\x1b"}
failures: list[str] = []


def check(what: str, good: bool, detail: object = "") -> None:
    print(f"{'ok  ' if good else 'FAIL'} {what}" + (f"  [{detail}]" if detail != "" else ""), flush=True)
    if not good:
        failures.append(what)


class Gone(Exception):
    """What was waited for did not come."""


class Operator:
    """Somebody at the other end of the line, with a telephone to somebody in the machine room.

    Args:
        lab: the program that boots the machine.
        directory: for the line's socket.
    """

    def __init__(self, lab: str, directory: str) -> None:
        place = os.path.join(directory, "line")
        command = [sys.executable, lab, "--timeout", str(TIMEOUT_S), "--nics", "vmx", "--no-nvme", "--cpus", "4", "-i"]
        command += ["--qemu-args", f"-serial unix:{place},server=on,wait=off", "--", sys.executable, str(GUEST)]
        self.machine = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=GUEST.parents[2])
        self.screen = Screen()
        self.keys = 0
        self.heard = 0
        deadline = time.monotonic() + _PATIENCE_S
        while not os.path.exists(place) and time.monotonic() < deadline and self.machine.poll() is None:
            time.sleep(0.1)
        self.line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.line.connect(place)
        self.line.setblocking(False)
        self._told = selectors.DefaultSelector()
        self._told.register(self.line, selectors.EVENT_READ)
        if self.machine.stdout is not None:
            os.set_blocking(self.machine.stdout.fileno(), False)
            self._told.register(self.machine.stdout, selectors.EVENT_READ)
        self._answers: list[dict[str, Any]] = []
        self._rest = b""
        self.wait("the guest is up", lambda: bool(self._answers))
        self._answers.clear()

    def listen(self, seconds: float) -> None:
        """Takes what comes down the line, and from the machine room."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            for ready, _ in self._told.select(left):
                if ready.fileobj is self.line:
                    with contextlib.suppress(BlockingIOError):
                        data = self.line.recv(65536)
                        self.heard += len(data)
                        self.screen.feed(data)
                elif (data := os.read(ready.fd, 65536)) == b"":
                    self._told.unregister(ready.fileobj)
                    raise Gone(f"the machine is gone (status {self.machine.wait(10)})")
                else:
                    *lines, self._rest = (self._rest + data).split(b"\n")
                    self._answers += [json.loads(line) for line in lines if line.startswith(b"{")]

    def wait(self, what: str, until: Callable[[], bool], seconds: float = _PATIENCE_S) -> float:
        """Until it is so; how long that took in seconds.

        Raises:
            Gone: it did not come; the screen is printed.
        """
        began = time.monotonic()
        while not until():
            if time.monotonic() - began > seconds:
                print(self.screen.text, flush=True)
                raise Gone(f"{what}: not within {seconds:.0f} s")
            self.listen(0.2)
        return time.monotonic() - began

    def sees(self, words: str, seconds: float = _PATIENCE_S) -> None:
        """Until these words stand on the screen."""
        took = self.wait(f"'{words}' on the screen", lambda: words in self.screen.text, seconds)
        check(f"the screen says '{words}'", True, f"after {took:.1f} s")

    def press(self, *keys: str) -> None:
        """Types, one key after the other."""
        for key in keys:
            self.line.sendall(KEYS.get(key, key).encode())
            self.keys += 1
            self.listen(_KEY_S)

    def ask(self, word: str = "state") -> dict[str, Any]:
        """What the machine room answers."""
        if self.machine.stdin is not None:
            self.machine.stdin.write(f"{word}\n".encode())
            self.machine.stdin.flush()
        self.wait(f"an answer to '{word}'", lambda: bool(self._answers))
        return self._answers.pop(0)

    def end(self) -> None:
        """The machine off."""
        if self.machine.poll() is None:
            self.machine.terminate()  # it ends QEMU
            self.machine.wait(30)
        self.line.close()


SETTINGS = ("rings", "affinities", "swappiness")


def settings(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: answer[name] for name in SETTINGS}


def planned(operator: Operator) -> None:
    """From wherever, by keys, to the plan of the profile of this test."""
    operator.press("6")
    operator.sees("a-line")
    operator.press("enter")
    operator.sees("plan a-line:")
    operator.sees("nothing written")


def applied(operator: Operator, before: dict[str, Any]) -> dict[str, Any]:
    """Plan and apply by keys; what the host is then like."""
    planned(operator)
    check("planning wrote nothing", settings(operator.ask()) == before)
    operator.press("a")
    operator.sees("4 KEEP?")
    operator.sees("undo in 0:")
    now = operator.ask()
    most, size = now["rings"]
    check("ethtool tells of the new ring", size == most != before["rings"][1], f"{before['rings'][1]} -> {size}")
    moved = {name: cpus for name, cpus in now["affinities"].items() if cpus != before["affinities"].get(name)}
    check("procfs tells of moved interrupts", bool(moved), moved)
    check("and of the sysctl", now["swappiness"] == "7", now["swappiness"])
    check("the transaction waits", now["transactions"][-1][1] == "applied", now["transactions"])
    return now


def kept(operator: Operator, before: dict[str, Any]) -> None:
    print("== plan, apply, verify, keep, undo", flush=True)
    applied(operator, before)
    operator.wait("the verdict", lambda: "3 verify    ok" in operator.screen.text)
    check("verify read every setting again", True, next(x for x in operator.screen.lines if x.startswith("  3 verify")).strip())
    operator.press("K")
    operator.wait("kept", lambda: "4 KEEP?" not in operator.screen.text and "kept" in operator.screen.text)
    now = operator.ask()
    check("kept: the journal says confirmed", now["transactions"][-1][1] == "confirmed", now["transactions"])
    check("and the host is as the profile wants it", now["swappiness"] == "7" and now["rings"][0] == now["rings"][1])
    operator.press("U")  # nothing waits: the newest that holds the host
    undone(operator, before)


def undone(operator: Operator, before: dict[str, Any]) -> None:
    operator.wait("the undo", lambda: "put back" in operator.screen.text)
    now = operator.ask()
    check("undone: the journal says so", now["transactions"][-1][1] == "rolled-back", now["transactions"])
    check(
        "ring, interrupts and sysctl are as before", settings(now) == before, settings(now) if settings(now) != before else ""
    )


def undone_in_the_countdown(operator: Operator, before: dict[str, Any]) -> None:
    print("== plan, apply, undo in the countdown, from another screen", flush=True)
    applied(operator, before)
    operator.press("1")
    operator.sees("undo in 0:")
    operator.press("U")
    operator.press("6")
    undone(operator, before)


def hung_up(operator: Operator, before: dict[str, Any]) -> None:
    """The line is lost in the countdown: the app goes, the undo does not."""
    print("== the line hangs up in the countdown", flush=True)
    applied(operator, before)
    told = operator.ask("hang up")
    began = time.monotonic()
    while told["runs"] and time.monotonic() - began < 60:
        operator.listen(1.0)
        told = operator.ask()
    check("the app is gone with its line", not told["runs"], f"status {told['status']}")
    check("the host is still changed", (told["swappiness"], told["transactions"][-1][1]) == ("7", "applied"))
    while told["transactions"][-1][1] != "rolled-back" and time.monotonic() - began < 120:
        operator.listen(1.0)
        told = operator.ask()
    check("the timer undid it", told["transactions"][-1][1] == "rolled-back", f"{time.monotonic() - began:.0f} s after")
    check(
        "ring, interrupts and sysctl are as before",
        settings(told) == before,
        settings(told) if settings(told) != before else "",
    )


def main(lab: str) -> int:
    """Boots, types, and looks; 1 where something did not hold."""
    with tempfile.TemporaryDirectory(prefix="quietcore-lab-") as directory:
        operator = Operator(lab, directory)
        try:
            before = settings(operator.ask("start"))
            took = operator.wait("the app", lambda: "1 Overview" in operator.screen.text, 300)
            check("the app stands on the line", "quietcore" in operator.screen.lines[0], f"{took:.0f} s on an emulated CPU")
            kept(operator, before)
            undone_in_the_countdown(operator, before)
            hung_up(operator, before)
            print(operator.screen.text, flush=True)
            check("every sequence that came was one of a VT220's", not operator.screen.unknown, operator.screen.unknown or "")
            print(f"{operator.keys} keys up the line, {operator.heard / 1024:.0f} KiB down it", flush=True)
        except Gone as error:
            check(str(error), False)
        finally:
            operator.end()
    print(f"\n{len(failures)} failed" if failures else "\nserial line: all held", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
