"""Inside the lab's guest: the app on a serial line, and what the host is like meanwhile.

What stands on the line is seen outside (``serial_line.py``), and every key is typed there, as at a console server. Here is only
what ``getty`` does, and the witness: it answers each line on its standard input with one of JSON, by ethtool, procfs and the
journals, never by what the app says.
"""

import contextlib
import fcntl
import json
import os
import pathlib
import signal
import struct
import subprocess
import sys
import termios

ROOT = pathlib.Path(__file__).resolve().parents[2]
LINE = "/dev/ttyS1"
STATE = "/var/lib/quietcore-lab"
NIC = "vmx0"
_TIOCVHANGUP = 0x5437
ENVIRONMENT = {"TERM": "vt220", "LANG": "C.UTF-8", "PATH": os.environ.get("PATH", ""), "HOME": "/root"}
# sorts before all others, so that the cursor stands on it
PROFILE = """
summary = "What is done by keys over a serial line"
[bind]
feed = "nic"
[cores]
rx = "first(2, cores(node(feed) - 0))"
[irq]
feed = { cores = "rx", spread = "one-each" }
[nic.feed]
rings = { rx = "max" }
[sysctl]
"vm.swappiness" = 7
"""


def prepare() -> None:
    folder = pathlib.Path("/etc/quietcore/profiles")
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in ((folder / "a-line.toml", PROFILE), (folder.parent / "host.toml", f'[bind]\nfeed = "{NIC}"\n')):
        path.write_text(text)
        path.chmod(0o644)
    subprocess.run(["ip", "link", "set", NIC, "up"], check=True)


def start() -> subprocess.Popen[bytes]:
    """The app with the line as its controlling terminal, in a session of its own: 115200 8N1, 80x24."""
    line = os.open(LINE, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    os.set_blocking(line, True)
    modes = termios.tcgetattr(line)
    modes[0], modes[1] = termios.ICRNL, termios.OPOST | termios.ONLCR
    modes[2] = termios.CS8 | termios.CREAD | termios.HUPCL | termios.CLOCAL
    modes[3] = termios.ISIG | termios.ICANON | termios.ECHO | termios.IEXTEN
    modes[4] = modes[5] = termios.B115200
    termios.tcsetattr(line, termios.TCSANOW, modes)
    fcntl.ioctl(line, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))

    def own() -> None:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        [sys.executable, "-I", "-m", "ui.cli.main", "--state", STATE],
        stdin=line,
        stdout=line,
        stderr=line,
        env=ENVIRONMENT,
        cwd="/",
        preexec_fn=own,  # noqa: PLW1509 - no thread here but this one
    )
    os.close(line)
    return process


def hang_up() -> None:
    """What the kernel does when a modem drops its carrier: the line's session gets SIGHUP, its descriptors end."""
    line = os.open(LINE, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    with contextlib.suppress(OSError):
        fcntl.ioctl(line, _TIOCVHANGUP)
    os.close(line)


def rings() -> list[int]:
    """Receive descriptors as ethtool tells: the most, and now."""
    out = subprocess.run(["ethtool", "-g", NIC], check=True, capture_output=True, text=True).stdout
    return [int(row.split()[1]) for row in out.splitlines() if row.startswith("RX:")]


def affinities() -> dict[str, str]:
    """Interrupt of the NIC -> its CPUs as /proc/irq tells."""
    found = {}
    for folder in pathlib.Path("/proc/irq").iterdir():
        names = [each.name for each in folder.iterdir() if each.is_dir()] if folder.is_dir() else []
        for name in names:
            if name.startswith(NIC):
                found[name] = (folder / "smp_affinity_list").read_text().strip()
    return found


def transactions() -> list[list[object]]:
    """Number and last record of each journal."""
    folder = pathlib.Path(STATE, "transactions")
    found: list[list[object]] = []
    for path in sorted(folder.glob("*.journal")) if folder.is_dir() else []:
        last = path.read_text().rstrip().rpartition("\n")[2]
        kind = last[last.find('"record"') :].split('"')[3] if '"record"' in last else "?"
        found.append([int(path.stem), kind])
    return found


def main() -> int:
    prepare()
    app: subprocess.Popen[bytes] | None = None
    print(json.dumps({"ready": True}), flush=True)
    for asked in sys.stdin:
        word = asked.strip()
        answer: dict[str, object] = {"asked": word}
        if word == "start":
            app = start()
        elif word == "hang up":
            hang_up()
        elif word == "kill" and app is not None:
            app.send_signal(signal.SIGKILL)
        elif word == "end":
            break
        swappiness = pathlib.Path("/proc/sys/vm/swappiness").read_text().strip()
        runs = app is not None and app.poll() is None
        answer |= {"rings": rings(), "affinities": affinities(), "swappiness": swappiness, "transactions": transactions()}
        print(json.dumps(answer | {"runs": runs, "status": app.poll() if app is not None else None}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
