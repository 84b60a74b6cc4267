"""Rings and feeds that the collector reads for the app: how its child is told of them, and how a refusal is."""

import os
import subprocess
import sys
import time
from argparse import Namespace

import pytest

from ui.app.stream.source import ChildSource
from ui.cli.main import build_parser
from ui.cli.ring_sources import ring_words


def test_options_are_handed_on_as_they_were_given():
    words = ["--ring", "packet:eth2", "--ring=packet:eth3", "--feed", "itch", "--filter", "udp -x"]
    arguments = build_parser(None).parse_args(words)
    again = build_parser("watch").parse_args(["watch", *ring_words(arguments)])
    for name in ("ring", "feed", "feed_file", "filter"):
        assert getattr(again, name) == getattr(arguments, name)
    assert ring_words(Namespace(ring=[], feed=None, feed_file=None, filter=None)) == []


def test_the_child_reads_a_ring_that_is_asked_for():
    if os.geteuid() != 0:
        pytest.skip("a packet ring needs CAP_NET_RAW")
    source = ChildSource([], "0.2s", ["--ring=packet:lo"])
    try:
        limit = time.monotonic() + 20
        while source.newest() is None:
            assert time.monotonic() < limit, source.ended
            time.sleep(0.05)
        assert {ring["source"] for ring in source.newest().rings} == {"lo"}
    finally:
        source.close()
    refused = ChildSource([], "0.2s", ["--ring=packet:nosuch0"])
    limit = time.monotonic() + 20
    while not refused.ended:
        assert time.monotonic() < limit
        time.sleep(0.05)
    assert "no interface 'nosuch0'" in refused.ended
    refused.close()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--ring", "packet:lo"], "needs a terminal"),
        (["--ring", "packet:lo", "status"], "before a command"),
        (["--feed=itch", "watch"], "before a command"),
    ],
)
def test_options_of_the_app_where_there_is_none(words, said):
    ran = subprocess.run(
        [sys.executable, "-m", "ui.cli.main", *words], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert (ran.returncode, ran.stdout) == (1, "")
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr
