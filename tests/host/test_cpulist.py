"""CPU lists and masks, both ways, against a naive model and against the kernel's own parser."""

import contextlib
import glob
import itertools
import os
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tuner.host.cpulist import MAX_CPUS, CpuListError, format_list, format_mask, parse_list, parse_mask

cpu_sets = st.frozensets(st.integers(0, 600), max_size=60) | st.builds(
    lambda first, length: frozenset(range(first, first + length)), st.integers(0, 600), st.integers(0, 70)
)


def model_of_list(text: str, count: int) -> frozenset[int]:
    """What lib/bitmap-str.c would make of it, written as plainly as possible; ValueError where it refuses."""
    chosen = set()
    for part in re.split(r"[,\s]", text):
        if not part:
            continue
        match = re.fullmatch(r"(?:([Aa][Ll][Ll])|(\d+|N)(?:-(\d+|N))?)(?::(\d+|N)/(\d+|N))?", part, re.ASCII)
        if match is None or (match[4] and not match[1] and not match[3]):
            raise ValueError(part)
        number = {k: count - 1 if v == "N" else int(v) for k in range(2, 6) if (v := match[k]) is not None}
        first = 0 if match[1] else number[2]
        last = count - 1 if match[1] else number.get(3, first)
        used, group = number.get(4, last + 1), number.get(5, last + 1)
        if first > last or last >= count or group == 0 or used > group:
            raise ValueError(part)
        for cpu in range(first, last + 1):
            if (cpu - first) % group < used:
                chosen.add(cpu)
    return frozenset(chosen)


@given(cpu_sets)
def test_a_formatted_list_means_the_same_set(cpus):
    assert parse_list(format_list(cpus)) == cpus


@given(cpu_sets)
def test_a_formatted_list_is_the_shortest_in_ascending_order(cpus):
    text = format_list(cpus)
    spans = [tuple(map(int, part.split("-"))) for part in text.split(",") if part]
    assert all(len(span) == 1 or span[0] < span[1] for span in spans)
    assert all(left[-1] + 1 < right[0] for left, right in itertools.pairwise(spans))


@given(cpu_sets, st.integers(0, 700))
def test_a_formatted_mask_means_the_same_set_and_is_as_wide_as_asked(cpus, count):
    text = format_mask(cpus, count)
    assert parse_mask(text) == cpus
    width = max([count, 1, *(cpu + 1 for cpu in cpus)])
    digits = text.replace(",", "")
    assert len(digits) == (width // 32) * 8 + -(-(width % 32) // 4)
    assert all(len(group) == 8 for group in text.split(",")[1:])


@given(st.text(alphabet="0123N-:/, all\nx", max_size=14), st.integers(1, 40))
@example("all:1/2", 16)
@example("0-N:2/4", 16)
@example("0-3:0/1", 8)
@example("3:1/2", 8)
@example("0-3:3/2", 8)
@example("N N", 3)
def test_any_text_is_read_as_the_model_reads_it(text, count):
    try:
        wanted = model_of_list(text, count)
    except ValueError:
        with pytest.raises(CpuListError):
            parse_list(text, count)
    else:
        assert parse_list(text, count) == wanted


@given(st.text(max_size=30))
def test_no_text_is_anything_but_a_set_or_an_error_of_its_own(text):
    for parse in (parse_list, parse_mask):
        with contextlib.suppress(CpuListError):
            assert all(0 <= cpu < MAX_CPUS for cpu in parse(text))


@pytest.mark.parametrize(
    ("text", "count", "words"),
    [
        ("x", 8, "'x' is not a CPU, FIRST-LAST or FIRST-LAST:USED/GROUP"),
        ("1-", 8, "'1-' is not a CPU"),
        ("-1", 8, "'-1' is not a CPU"),
        ("1-2-3", 8, "'1-2-3' is not a CPU"),
        ("٣", 8, "'٣' is not a CPU"),
        ("²", 8, "'²' is not a CPU"),
        ("0x1", 8, "'0x1' is not a CPU"),
        ("3-1", 8, "'3-1' runs backwards"),
        ("8", 8, "CPU 8 is beyond the last possible CPU 7"),
        ("0-8", 8, "CPU 8 is beyond the last possible CPU 7"),
        ("9999999999", 8, "'9999999999' is not a CPU"),
        ("0-7:3/2", 8, "'0-7:3/2' is not FIRST-LAST:USED/GROUP"),
        ("0-7:1/0", 8, "'0-7:1/0' is not FIRST-LAST:USED/GROUP"),
        ("3:1/2", 8, "'3:1/2' is not FIRST-LAST:USED/GROUP"),
        ("0-7:1", 8, "'0-7:1' is not"),
        ("0-7:", 8, "'0-7:' is not"),
        ("all", MAX_CPUS, "'all' has no meaning where the number of CPUs is not known"),
        ("N", MAX_CPUS, "'N' is not a CPU"),
        ("1," + "y" * 500, 8, "'" + "y" * 40 + "' is not a CPU"),
    ],
)
def test_what_a_wrong_list_says(text, count, words):
    with pytest.raises(CpuListError, match=re.escape(words)):
        parse_list(text, count)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "'' is not a hexadecimal CPU mask"),
        ("g", "'g' is not a hexadecimal CPU mask"),
        ("1,,1", "'1,,1' is not a hexadecimal CPU mask"),
        ("-1", "'-1' is not a hexadecimal CPU mask"),
        ("1_0", "'1_0' is not a hexadecimal CPU mask"),
        ("٣", "'٣' is not a hexadecimal CPU mask"),
        ("1,000000001", "'1,000000001' has a group of more than 32 bits"),
        ("1" + "0" * (MAX_CPUS // 4), f"the mask names CPU {MAX_CPUS}, more than {MAX_CPUS} CPUs"),
    ],
)
def test_what_a_wrong_mask_says(text, words):
    with pytest.raises(CpuListError, match=re.escape(words)):
        parse_mask(text)


def test_masks_come_with_and_without_commas():
    assert parse_mask("1,00000001\n") == parse_mask("100000001") == parse_mask("0x1,00000001") == {0, 32}


def test_an_empty_set_has_an_empty_list_and_a_zero_mask():
    assert parse_list("") == parse_list("\n") == parse_list(" , ") == frozenset()
    assert (format_list([]), format_mask([]), format_mask([], 40)) == ("", "0", "00,00000000")


# ------------------------------------------------------------------------------------------------ against the kernel


def test_the_kernel_says_the_affinity_of_this_process_in_the_same_words():
    with open("/proc/self/status", encoding="utf-8", errors="replace") as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    allowed = os.sched_getaffinity(0)
    assert parse_list(status["Cpus_allowed_list"]) == parse_mask(status["Cpus_allowed"]) == allowed
    assert format_list(allowed) == status["Cpus_allowed_list"]


def test_every_mask_of_this_machine_means_the_list_beside_it():
    pairs = [(path.removesuffix("_list"), path) for path in glob.glob("/proc/irq/*/smp_affinity_list")]
    pairs += [(path.replace("list", "map"), path) for path in glob.glob("/sys/devices/system/cpu/cpu*/cache/*/shared_cpu_list")]
    pairs += [(path.replace("cpulist", "cpumap"), path) for path in glob.glob("/sys/devices/system/node/node*/cpulist")]
    checked = 0
    for mask_path, list_path in pairs:
        with contextlib.suppress(OSError):
            mask, text = (open(path, encoding="ascii").read().strip() for path in (mask_path, list_path))  # noqa: SIM115
            assert parse_mask(mask) == parse_list(text), list_path
            assert format_list(parse_mask(mask)) == text, list_path
            assert format_mask(parse_list(text)) == re.sub(r"^(?:0+,)*0*(?=.)", "", mask), list_path
            checked += 1
    if not checked:
        pytest.skip("this machine shows no CPU mask beside a list")


@pytest.mark.parametrize("name", ["intel-2node-16core-i350-connectx3", "intel-4node-interleaved-bnx2", "lab-8cpu-2numa"])
def test_the_masks_of_captured_machines_are_written_as_their_kernels_wrote_them(captured, name):
    root = captured(name)
    checked = 0
    for place in sorted(root.glob("sys/devices/system/node/node*")):
        if not (place / "cpumap").exists() or not (place / "cpulist").exists():
            continue
        mask, text = (place / "cpumap").read_text().strip(), (place / "cpulist").read_text().strip()
        width = len(mask.replace(",", "")) * 4
        assert parse_mask(mask) == parse_list(text)
        assert format_list(parse_mask(mask)) == text
        assert format_mask(parse_list(text), width) == mask
        checked += 1
    assert checked >= 2


@pytest.fixture(scope="module")
def kernel_parser():
    """An empty cpuset: the kernel parses what is written to its ``cpuset.cpus``, and nothing runs in it."""
    for parent in ("/sys/fs/cgroup/cpuset", "/sys/fs/cgroup"):
        directory = f"{parent}/quietcore-test-{os.getpid()}"
        if os.path.exists(f"{parent}/cpuset.cpus") or os.path.exists(f"{parent}/cpuset.cpus.effective"):
            try:
                os.mkdir(directory)
            except OSError as error:
                pytest.skip(f"no cpuset can be made here: {error}")
            try:
                if os.access(f"{directory}/cpuset.cpus", os.W_OK):
                    yield f"{directory}/cpuset.cpus"
                    return
            finally:
                os.rmdir(directory)
    pytest.skip("this machine has no cpuset whose parser could be asked")


def kernel_reads(path: str, text: str) -> str | None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode() or b"\n")
    except OSError:
        return None
    finally:
        os.close(descriptor)
    with open(path, encoding="ascii") as file:
        return file.read().strip()


def test_lists_are_read_as_the_kernel_reads_them(kernel_parser):
    with open("/sys/devices/system/cpu/possible", encoding="ascii") as file:
        count = max(parse_list(file.read())) + 1
    with open("/sys/devices/system/cpu/online", encoding="ascii") as file:
        online = parse_list(file.read())

    @settings(max_examples=200, deadline=None)
    @given(st.text(alphabet="01N-:/, al", max_size=8))
    @example("all:1/2")
    @example("ALL")
    @example("0-N:1/N")
    @example("0 1")
    @example("0:1/1")
    @example("0000000000001")
    @example("0,,0,")
    def alike(text):
        try:
            ours = parse_list(text, count)
        except CpuListError:
            ours = None
        theirs = kernel_reads(kernel_parser, text)
        if ours is None or ours <= online:
            assert theirs == (None if ours is None else format_list(ours)), text

    alike()
