"""Options of the app on the command line: what they are, and where they may stand."""

import pytest

from ui.cli.main import build_parser, main
from ui.looks import THEMES


@pytest.mark.parametrize("words", [["--theme", "light"], ["--theme=mono"], ["--ascii"]])
def test_they_are_for_the_app_and_for_a_terminal(words, capsys):
    with pytest.raises(SystemExit) as caught:
        main([*words, "status"])
    assert caught.value.code == 1
    assert f"{words[0].partition('=')[0]} before a command: these are the app's" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 1
    assert "needs a terminal" in capsys.readouterr().err


def test_a_theme_that_there_is_not_is_told(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--theme", "pink"])
    assert caught.value.code == 1
    said = capsys.readouterr().err
    assert all(theme in said for theme in THEMES)


def test_nothing_is_asked_for_by_default():
    arguments = build_parser(None).parse_args([])
    assert (arguments.theme, arguments.ascii) == (None, False)
