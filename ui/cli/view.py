"""``quietcore view -``: samples of another host, as they come in on stdin."""

import argparse
import os
import sys

from ingest.blocks import RecordingError
from ingest.incoming import Incoming
from ui.cli.output import say
from ui.cli.sampling import Ended, Ending

EPILOG = """\
On a terminal the app shows the other host on the same screens as this one. With --json, or where stdout is no terminal, every
sample that came comes out as a whole line: checked, with nothing in it that a terminal would obey. What is no sample, as a
greeting of the other host, is left out and counted on stderr.

On stdin may be lines of `quietcore watch --json`, those of its --changes, which are less to send, or a recording. Nothing is
changed on either host, and the other one needs no root and no terminal. Of ssh, -C is worth it for whole lines, and -o
ServerAliveInterval=5 notices that a line is dead.

examples:
  ssh host quietcore watch --json --changes | quietcore view -
  ssh host quietcore watch --json --changes --interval 200ms --ring packet:eth2 | quietcore view -
  ssh host cat /var/tmp/morning.rec | quietcore view - --json | jq .cores[0]
"""
_CHUNK = 1 << 16
_TOLD = 3


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.add_argument("stream", metavar="-", choices=("-",), help="standard input: samples, or a recording")
    parser.epilog = EPILOG


def run(arguments: argparse.Namespace) -> int:
    """Shows the stream or passes it on, to its end. 1 where no sample came."""
    if sys.stdin.isatty():
        say("quietcore view: nothing is piped in; try: ssh HOST quietcore watch --json --changes | quietcore view -")
        return 1
    if sys.stdout.isatty() and not arguments.json:
        from ui.app.main import view as app

        return app(arguments)
    incoming, ending, count = Incoming(), Ending(), 0
    try:
        while data := os.read(sys.stdin.fileno(), _CHUNK):
            before = incoming.refused
            for arrived in incoming.feed(data):
                ending.write(arrived.sample.to_json())
                count += 1
            if before < _TOLD and incoming.refused > before:
                say(f"quietcore view: left out: {incoming.why}")
    except Ended:
        return 0
    except RecordingError as error:
        say(f"quietcore view: {error}")
        return 1
    for why in (incoming.left, f"{incoming.refused} lines were left out" if incoming.refused > _TOLD else ""):
        if why:
            say(f"quietcore view: {why}")
    if not count:
        say("quietcore view: no sample came")
    return 0 if count else 1
