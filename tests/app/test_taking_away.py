"""What is taken away from a screen: an export that spreadsheets and readers can trust, and a command line for the clipboard."""

import csv
import json
import os
import stat
import time

import pytest

from tests.app.screens import drive, make_app, press, sample, text_of
from ui.app.export import ExportError, as_csv, as_json, write
from ui.app.state.model import Listing, Pointed

ROWS = [{"name": "eth2", "rate_per_s": 12.5, "cpus": (1, 2)}, {"name": 'é, "x"', "total": -4711, "note": None}]


def test_both_files_say_the_same(tmp_path):
    stem = write(Listing("irqs", ROWS), sample(sequence=7), "rate>10", [str(tmp_path)])
    assert os.path.dirname(stem) == str(tmp_path)
    with open(f"{stem}.json", encoding="utf-8") as file:
        record = json.load(file)
    assert next(iter(record)) == "schema"
    assert (record["screen"], record["host"], record["source"]) == ("irqs", "ny4-md-07", "live")
    assert (record["filter"], record["sequence"], record["time"]) == ("rate>10", 7, "1970-01-01T00:00:00.000+00:00")
    assert record["rows"] == [
        {"name": "eth2", "rate_per_s": 12.5, "cpus": [1, 2]},
        {"name": 'é, "x"', "total": -4711, "note": None},
    ]
    with open(f"{stem}.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0] == {"name": "eth2", "rate_per_s": "12.5", "cpus": "[1, 2]", "total": "", "note": ""}
    assert rows[1]["name"] == 'é, "x"'
    assert rows[1]["total"] == "-4711"
    for kind in ("json", "csv"):
        assert stat.S_IMODE(os.stat(f"{stem}.{kind}").st_mode) == 0o600


def test_nothing_that_is_there_is_overwritten(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "strftime", lambda _form: "20261121-104207")
    first = write(Listing("nic", ROWS), sample(), "", [str(tmp_path)])
    assert first == str(tmp_path / "quietcore-nic-20261121-104207")
    (tmp_path / "quietcore-nic-20261121-104207-2.csv").symlink_to(tmp_path / "elsewhere")
    second = write(Listing("nic", ROWS[:1]), sample(), "", [str(tmp_path)])
    assert second == f"{first}-3"  # a link is no free name
    assert not (tmp_path / "elsewhere").exists()
    assert not (tmp_path / "quietcore-nic-20261121-104207-2.json").exists()  # half an export is none
    with open(f"{first}.json") as file:
        assert len(json.load(file)["rows"]) == 2


def test_the_next_place_is_taken_where_one_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_text("")
    stem = write(Listing("nic", ROWS), sample(), "", [str(tmp_path / "nowhere"), str(tmp_path / "file"), str(tmp_path)])
    assert os.path.exists(f"{stem}.csv")


def test_nowhere_to_write_is_told_with_every_place(tmp_path):
    with pytest.raises(ExportError) as caught:
        write(Listing("nic", ROWS), sample(), "", [str(tmp_path / "a"), "/proc"])
    assert f"{tmp_path}/a: No such file" in str(caught.value)
    assert "/proc: " in str(caught.value)


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    real = os.open

    def opened(path, *arguments):
        return real("/dev/full", os.O_WRONLY) if str(path).endswith(".csv") else real(path, *arguments)

    monkeypatch.setattr("ui.app.export.os.open", opened)
    with pytest.raises(ExportError, match="No space left"):
        write(Listing("nic", ROWS), sample(), "", [str(tmp_path)])
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("-2+3", "'-2+3"),
        ("\t=1", "'\t=1"),
        ("-42", "-42"),
        ("+1.5e3", "+1.5e3"),
        (-42, "-42"),
        (-0.5, "-0.5"),
        ("eth2-TxRx-0", "eth2-TxRx-0"),
        (None, ""),
        (True, "True"),
    ],
)
def test_a_spreadsheet_finds_no_formula(value, cell):
    assert list(csv.reader(as_csv([{"name": value}]).splitlines()[1:])) in ([[cell]], [[]] if cell == "" else [])


def test_what_json_cannot_say_is_not_said():
    with pytest.raises(ValueError, match="JSON"):
        as_json(Listing("nic", [{"rate": float("nan")}]), sample(), "")


def test_export_by_key(tmp_path):
    app = make_app()
    app.places = (str(tmp_path),)

    async def steps(pilot):
        app.pane.listing = lambda: Listing("overview", ROWS)
        await press(pilot, "x")
        await app.workers.wait_for_complete()
        await pilot.pause()
        (path,) = tmp_path.glob("*.json")
        assert f"wrote {path.with_suffix('')}.json and .csv"[:70] in text_of(app)
        app.pane.listing = lambda: Listing("overview")
        await press(pilot, "x")
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert "nothing to export" in text_of(app)
        app.pane.listing, app.places = (lambda: Listing("overview", ROWS)), ("/proc",)
        await press(pilot, "x")
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert "nothing exported: /proc: " in text_of(app)

    drive(app, steps, size=(130, 30))


def test_copy_is_the_command_line_by_osc_52():
    app = make_app()
    sent = []

    async def steps(pilot):
        app._driver.write = sent.append
        app.pane.pointed = lambda: Pointed(command="quietcore status --json")
        await press(pilot, "y")
        assert app.clipboard == "quietcore status --json"
        assert "copied: quietcore status --json" in text_of(app)

    drive(app, steps)
    assert "\x1b]52;c;cXVpZXRjb3JlIHN0YXR1cyAtLWpzb24=\x07" in sent


def test_control_characters_are_not_copied():
    app = make_app()

    async def steps(pilot):
        app.pane.pointed = lambda: Pointed(command="quietcore status\n rm -rf x")
        await press(pilot, "y")
        assert app.clipboard == ""
        assert "not copied" in text_of(app)

    drive(app, steps)
