"""A walker that was not built is compiled where a compiler is, and never loaded from where others could have put it."""

import os
import shutil
from pathlib import Path

import pytest

from ingest.rings import first_use, native
from ingest.rings.walk import WalkerMissing, open_walker


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache, and no library beside the sources."""
    place = tmp_path / "cache"
    place.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_CACHE_HOME", str(place))
    missing = tmp_path / "_walk.so"
    monkeypatch.setattr(native, "LIBRARY", missing)
    monkeypatch.setattr(native.load, "__defaults__", (missing,))
    monkeypatch.delenv("QUIETCORE_WALKER", raising=False)
    return place


def compiler_or_skip() -> None:
    if not os.access(first_use._COMPILER, os.X_OK):
        pytest.skip("no C compiler")


def test_it_is_compiled_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler_or_skip()
    assert open_walker([]).name == "native"
    (library,) = (cache / "quietcore").iterdir()
    assert library.stat().st_mode & 0o022 == 0
    monkeypatch.setattr(first_use, "_COMPILER", "/nonexistent/cc")
    assert open_walker([]).name == "native"
    assert list((cache / "quietcore").iterdir()) == [library]


def test_other_sources_are_another_library(cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    compiler_or_skip()
    first = first_use.compiled()
    copy = tmp_path / "sources"
    shutil.copytree(first_use.SOURCES, copy, ignore=shutil.ignore_patterns("*.py", "*.so", "__pycache__"))
    with (copy / "walk.c").open("a") as file:
        file.write("/* changed */\n")
    monkeypatch.setattr(first_use, "SOURCES", copy)
    second = first_use.compiled()
    assert None not in (first, second)
    assert first != second


@pytest.mark.parametrize("where", ["quietcore", "."])
def test_a_cache_that_others_may_write_is_not_loaded_from(cache: Path, where: str) -> None:
    (cache / "quietcore").mkdir(mode=0o700)
    (cache / where).chmod(0o777)
    assert first_use.compiled() is None
    with pytest.raises(WalkerMissing, match="not built"):
        native.load()


def test_a_cache_that_is_a_link_is_not_loaded_from(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (cache / "quietcore").symlink_to(tmp_path / "elsewhere")
    assert first_use.compiled() is None


def test_without_a_compiler_another_walker_stands_in(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_use, "_COMPILER", "/nonexistent/cc")
    assert open_walker([]).name != "native"
    assert list((cache / "quietcore").iterdir()) == []


def test_sources_that_do_not_compile_leave_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    compiler_or_skip()
    sources = tmp_path / "sources"
    sources.mkdir()
    (sources / "walk.c").write_text("int broken(\n")
    monkeypatch.setattr(first_use, "SOURCES", sources)
    assert first_use.compiled() is None
    assert list((cache / "quietcore").iterdir()) == []
