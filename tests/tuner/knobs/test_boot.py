"""Words for the next boot: what may be named, how they are compared, and a boot menu that stays one whatever happens."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from engine import PROJECT, Sim

from tuner.host import commands, grub
from tuner.host.command_line import BootWord, parse
from tuner.host.files import HostFiles
from tuner.host.host import Inventory, open_host
from tuner.knobs.boot_words import WORDS, means_same
from tuner.knobs.knob import Wish
from tuner.plan import look
from tuner.profile import ProfileError
from tuner.profile_files import load
from tuner.store import Refused
from tuner.undo import recover, rollback

BOOT_ID, CMDLINE = "/proc/sys/kernel/random/boot_id", "/proc/cmdline"
WORDS_OF = """
[cores]
rx = "2-3"
[boot]
isolcpus = "managed_irq,{rx}"
nohz_full = "{rx}"
skew_tick = 1
nosoftlockup = true
"""
STAGED = "isolcpus=managed_irq,2-3 nohz_full=2-3 skew_tick=1 nosoftlockup"


def faults(sim: Sim, text: str) -> list[str]:
    with pytest.raises(ProfileError) as caught:
        sim.plan(sim.profile(text))
    return [str(fault).partition(": ")[2] for fault in caught.value.faults]


def reboot(sim: Sim, words: str | None = None) -> None:
    """A new boot of the simulated host, with the words of its menu or with others."""
    if words is None:
        entry = next(line for line in sim.text(grub.MENU).splitlines() if "linux\t" in line)
        words = entry.split(" ro ", 1)[1]
    path = Path(sim.root + BOOT_ID)
    path.chmod(0o644)
    path.write_text("0-0-0-0-another" + str(os.stat(path).st_mtime_ns) + "\n")
    line = Path(sim.root + CMDLINE)
    line.chmod(0o644)
    line.write_text(f"BOOT_IMAGE=/boot/vmlinuz-simulated root=/dev/nvme0n1p2 ro {words}\n")
    for name in ("nohz_full", "isolated"):
        value = next((w.value for w in parse(words) if w.name == name and w.value), "")
        file = Path(f"{sim.root}/sys/devices/system/cpu/{name}")
        if file.exists():
            file.chmod(0o644)
            file.write_text(value + "\n")


def only(sim: Sim, path: str):
    (change,) = sim.plan(path).changes
    return change


# ----------------------------------------------------------------------------------------------------------- the language


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('kthread_cpus = "0-1"', "boot.kthread_cpus: no mainline kernel knows this word"),
        ('isolcpu = "{2-3}"', "boot.isolcpu: unknown key (did you mean isolcpus?)"),
        ('isolcpus = "managed,{2-3}"', "boot.isolcpus: unknown flag 'managed' (known: managed_irq, domain, nohz)"),
        ('nohz_full = "domain,{2-3}"', "boot.nohz_full: unknown flag 'domain' (it takes none"),
        ('isolcpus = "managed_irq,{rxx}"', "boot.isolcpus: unknown core set 'rxx'"),
        ('isolcpus = "managed_irq,$(reboot)"', "boot.isolcpus: not a core set in braces"),
        ("skew_tick = 2", "boot.skew_tick: out of range: 2"),
        ('nosoftlockup = "1"', "boot.nosoftlockup: neither true nor false"),
        ('amd_iommu = "on"', "boot.amd_iommu: unknown word 'on' (known: off, fullflush)"),
        ('tsc = "reliable quiet"', "boot.tsc: unknown word 'reliable quiet'"),
        ('init = "/bin/sh"', "boot.init: unknown key"),
    ],
)
def test_what_no_profile_can_say(sim: Sim, line: str, fault: str):
    assert any(found.startswith(fault) for found in faults(sim, f"[boot]\n{line}\n")), faults(sim, f"[boot]\n{line}\n")


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ('isolcpus = "{0-1}"', "boot.isolcpus: names CPU 0"),
        ('nohz_full = "{all}"', "boot.nohz_full: leaves no CPU for housekeeping"),
        ('nohz_full = "{2-3}"\nirqaffinity = "{1-2}"', "boot.irqaffinity: sends interrupts to CPU 2"),
        ('isolcpus = "nohz,{2}"\nnohz_full = "{2-3}"', "boot.nohz_full: must name the CPUs of isolcpus=nohz"),
        ('mitigations = "off"', "boot.mitigations: takes away what protects"),
        ('isolcpus = "{2-9}"', "boot.isolcpus: "),
    ],
)
def test_what_makes_no_sense_on_this_host(sim: Sim, lines: str, fault: str):
    assert any(found.startswith(fault) for found in faults(sim, f"[boot]\n{lines}\n")), faults(sim, f"[boot]\n{lines}\n")


def test_mitigations_go_off_only_where_it_is_said_twice(sim: Sim):
    change = only(sim, sim.profile('[boot]\nmitigations = "off"\ninsecure = true\n'))
    assert change.wanted == "mitigations=off"


def test_the_words_come_in_an_order_that_the_kernel_needs(sim: Sim):
    text = '[boot]\nhugepages = 4\nhugepagesz = "1G"\ndefault_hugepagesz = "1G"\nnosoftlockup = false\n'
    assert only(sim, sim.profile(text)).wanted == "default_hugepagesz=1G hugepagesz=1G hugepages=4"


def test_every_word_stands_in_the_shell_as_itself():
    for name in WORDS:
        assert grub.words_of(grub.content_of(f"{name}=managed_irq,2-3,10-12")) == f"{name}=managed_irq,2-3,10-12"
    for bad in ('a"b', "a$b", "a`b`", "a\\b", "a\nb", "a;b", "a'b", "", " ", "a  b"):
        with pytest.raises(ValueError, match="not words"):
            grub.content_of(bad)


# -------------------------------------------------------------------------------------------------------------- comparing


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        ("isolcpus=2-3", "isolcpus=domain,3,2", True),
        ("isolcpus=managed_irq,2-3", "isolcpus=2-3", False),
        ("isolcpus=managed_irq,domain,2-5", "isolcpus=domain,managed_irq,2-3,4-5", True),
        ("nohz_full=2-9:1/2", "nohz_full=2,4,6,8", True),
        ("nohz_full=2-3", "nohz_full=2-4", False),
        ("nohz_full=all", "nohz_full=2-4", False),
        ("hugepagesz=1G", "hugepagesz=1024M", True),
        ("hugepages=4", "hugepages=04", True),
        ("skew_tick=1", "skew_tick=0", False),
        ("nosoftlockup", "nosoftlockup", True),
        ("nosoftlockup", "nosoftlockup=1", False),
    ],
)
def test_words_are_compared_by_meaning(left: str, right: str, same: bool):
    assert means_same(*parse(left), *parse(right)) is same


def test_a_line_is_parted_as_the_kernel_parts_it():
    line = 'root=/dev/a dyndbg="file a.c +p; func b" rcu-nocbs=2\tquiet  -- init=mine skew_tick=1'
    assert parse(line) == (
        BootWord("root", "/dev/a"),
        BootWord("dyndbg", "file a.c +p; func b"),
        BootWord("rcu_nocbs", "2"),
        BootWord("quiet", None),
    )


# --------------------------------------------------------------------------------------------------------- staging, booting


def test_staged_then_booted_then_undone(sim: Sim):
    path = sim.profile(WORDS_OF)
    assert (only(sim, path).state, only(sim, path).disruption) == ("differs", "reboot")
    refused = sim.run("apply", path)
    assert refused.returncode == 4
    assert "--allow reboot" in refused.stderr
    applied = sim.run("apply", path, "--allow", "reboot")
    assert applied.returncode == 3, applied.stderr
    assert sim.run("verify").returncode == 3
    change = only(sim, path)
    assert (change.state, change.now, change.effective) == ("pending-reboot", STAGED, "")
    entries = [line for line in sim.text(grub.MENU).splitlines() if "linux\t" in line]
    assert [STAGED in line for line in entries] == [True, False], "the recovery entry boots without them"
    assert Path(sim.root + grub.KEPT).read_text() == sim.before["/boot/grub/grub.cfg"][2].decode()

    reboot(sim)
    assert only(sim, path).state == "ok"
    recovered = sim.json("recover", status=0)
    assert recovered["transactions"] == [], "confirmed words stay"
    again = sim.json("apply", path, "--allow", "reboot", status=0)
    assert again["outcome"] == "unchanged"
    undone = sim.json("rollback", status=0)
    assert [(u["knob"], u["result"]) for u in undone["undone"]] == [("boot.words", "restored")]
    shown = {f"/sys/devices/system/cpu/{name}" for name in ("isolated", "nohz_full")}
    assert set(sim.changed()) - shown == {CMDLINE, BOOT_ID}, "nothing but the boot itself"
    change = only(sim, path)
    assert change.state == "differs", "it runs, but the next boot has it no more"
    assert sim.json("rollback", status=0)["outcome"] == "unchanged"


def test_a_word_that_runs_and_stays_is_as_wanted_whoever_put_it_there(sim: Sim):
    settings = Path(sim.root + grub.SETTINGS)
    settings.write_text(settings.read_text().replace('"quiet"', '"quiet skew_tick=1"'))
    menu = Path(sim.root + grub.MENU)
    menu.write_text(menu.read_text().replace(" quiet", " quiet skew_tick=1"))
    reboot(sim)
    assert only(sim, sim.profile("[boot]\nskew_tick = 1\n")).state == "ok"


def test_a_second_word_that_the_kernel_does_not_merge_is_a_conflict(sim: Sim):
    menu = Path(sim.root + grub.MENU)
    menu.write_text(menu.read_text().replace(" quiet", " quiet isolcpus=1 skew_tick=0"))
    reboot(sim)
    plan = sim.plan(sim.profile('[boot]\nisolcpus = "{2-3}"\nskew_tick = 1\n'))
    assert any("isolcpus=1 stands on the command line already" in conflict for conflict in plan.conflicts)
    assert any("skew_tick=0 stands on the command line already; ours comes behind" in warning for warning in plan.warnings)


def test_what_the_kernel_made_nothing_of_is_not_as_wanted(sim: Sim):
    path = sim.profile('[boot]\nnohz_full = "{2-3}"\n')
    assert sim.apply(path).outcome == "confirmed"
    reboot(sim)
    shown = Path(f"{sim.root}/sys/devices/system/cpu/nohz_full")
    if shown.exists():
        shown.unlink()
    shown.write_text("  (null)\n")
    change = only(sim, path)
    assert change.state == "unsupported"
    assert "booted with nohz_full=2-3, and this kernel does not do it" in str(change.error)


@pytest.mark.promise("R10")
def test_words_that_nobody_confirmed_before_the_reboot_are_taken_away_after_it(sim: Sim, held: Callable[[int], None]):
    path = sim.profile(WORDS_OF + '[sysctl]\n"vm.swappiness" = 10\n')
    assert sim.apply(path, confirm_within_s=600).outcome == "applied"
    reboot(sim)
    (ended,) = recover(sim.host, sim.store)
    assert "not confirmed before the reboot" in ended.verdict
    assert [(u.knob, u.result) for u in ended.undone] == [("boot.words", "restored")], (
        "swappiness was this boot's from the start"
    )
    assert not Path(sim.root + grub.DROP_IN).exists()
    assert not Path(sim.root + grub.KEPT).exists()
    assert sim.text(grub.MENU).encode() == sim.before["/boot/grub/grub.cfg"][2]
    assert recover(sim.host, sim.store) == []
    held(1)


@pytest.mark.promise("R10")
def test_a_power_cut_behind_the_write_is_undone_though_the_journal_ends_there(sim: Sim, held: Callable[[int], None]):
    """Everything behind the durable ``write`` record is lost or garbage: the words are there, and are taken away."""
    path = sim.profile(WORDS_OF)
    assert sim.apply(path).outcome == "confirmed"
    for tail in (b"", b"00000000 12 garbage\n", b"deadbe"):
        sim.apply(path)
        number = sim.store.numbers()[-1]
        journal = Path(sim.store.get(number).path)
        lines = journal.read_bytes().splitlines(keepends=True)
        kept = next(n for n, line in enumerate(lines) if b'"record":"write"' in line)
        journal.write_bytes(b"".join(lines[: kept + 1]) + tail)
        reboot(sim, "quiet")
        (ended,) = recover(sim.host, sim.store)
        assert ended.verdict.startswith("rolled back"), ended
        assert sim.text(grub.MENU).encode() == sim.before["/boot/grub/grub.cfg"][2]
        held(1)


def test_the_write_record_is_on_the_disk_before_the_words(sim: Sim, monkeypatch: pytest.MonkeyPatch):
    synchronised = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synchronised.append(os.readlink(f"/proc/self/fd/{fd}")), real(fd))[1])
    assert sim.apply(sim.profile(WORDS_OF)).outcome == "confirmed"
    journal = [n for n, name in enumerate(synchronised) if name.endswith(".journal")]
    drop_in = [n for n, name in enumerate(synchronised) if "99-quietcore" in name]
    menu = [n for n, name in enumerate(synchronised) if name.endswith("grub.cfg.quietcore-new")]
    assert len(journal) >= 3, "begin, write, confirmed"
    assert journal[1] < drop_in[0] < menu[-1]


def test_an_earlier_boots_words_are_rolled_back_by_their_number(sim: Sim):
    path = sim.profile(WORDS_OF + '[sysctl]\n"vm.swappiness" = 10\n')
    sim.apply(path)
    reboot(sim)
    sim.apply(sim.profile('[sysctl]\n"vm.stat_interval" = 120\n', "other"))
    done = rollback(sim.host, sim.store, 1, "test")
    assert done is not None
    assert [(u.knob, u.result) for u in done[1]] == [("boot.words", "restored")]
    assert sim.text("/proc/sys/vm/stat_interval").strip() == "120", "a newer one of this boot stands on nothing of it"
    assert rollback(sim.host, sim.store, None, "test")[0] == 2
    sim.apply(sim.profile('[sysctl]\n"vm.stat_interval" = 120\n', "other"))
    reboot(sim, "quiet")
    with pytest.raises(Refused, match="of an earlier boot"):
        rollback(sim.host, sim.store, 3, "test")


def test_words_of_two_profiles_are_undone_from_the_newest(sim: Sim):
    first, second = sim.profile(WORDS_OF), sim.profile('[boot]\nisolcpus = "managed_irq,{3}"\n', "second")
    sim.apply(first)
    reboot(sim)
    sim.apply(second)
    assert grub.words_of(Path(sim.root + grub.DROP_IN).read_text()) == "isolcpus=managed_irq,3"
    with pytest.raises(Refused, match="newer and stands on it"):
        rollback(sim.host, sim.store, 1, "test")
    rollback(sim.host, sim.store, None, "test")
    assert grub.words_of(Path(sim.root + grub.DROP_IN).read_text()) == STAGED
    assert f" quiet {STAGED}\n" in sim.text(grub.MENU)
    rollback(sim.host, sim.store, None, "test")
    assert sim.text(grub.MENU).encode() == sim.before["/boot/grub/grub.cfg"][2]


# ------------------------------------------------------------------------------------------- a menu that cannot be broken


def tree(sim: Sim) -> HostFiles:
    return sim.host.files


def unchanged(sim: Sim) -> None:
    assert sim.changed() == []


def refused(sim: Sim, match: str, make=None, check=lambda _: None) -> None:
    menu = sim.text(grub.MENU)

    def usual(file):
        file.write(menu.replace(" quiet", f" quiet {STAGED}").encode())

    with pytest.raises(OSError, match=match):
        grub.stage(tree(sim), grub.content_of(STAGED), make or usual, check)
    unchanged(sim)


def test_a_menu_of_nothing_a_crash_of_mkconfig_a_fault_in_it(sim: Sim):
    refused(sim, "change more than these words", make=lambda file: None)

    def dies(file):
        file.write(b"menuentry")
        raise OSError(5, "grub-mkconfig ended with status 1")

    refused(sim, "status 1", make=dies)

    def complains(path):
        raise OSError(5, "syntax error")

    refused(sim, "syntax error", check=complains)


def test_settings_that_somebody_changed_without_update_grub_are_not_applied_in_passing(sim: Sim):
    menu = sim.text(grub.MENU)

    def other_root(file):
        file.write(menu.replace("nvme0n1p2", "sda9").replace(" quiet", f" quiet {STAGED}").encode())

    refused(
        sim,
        r"update-grub would change more than these words \(as: linux /boot/vmlinuz-simulated root=/dev/sda9",
        make=other_root,
    )

    def one_more(file):
        file.write((menu + "menuentry 'x' {\n}\n").replace(" quiet", f" quiet {STAGED}").encode())

    refused(sim, "change more than these words", make=one_more)


def test_words_that_a_later_file_drops_are_not_said_to_be_staged(sim: Sim):
    menu = sim.text(grub.MENU)
    refused(sim, "does not get the words", make=lambda file: file.write(menu.encode()))


def test_our_file_edited_by_hand_is_left_alone(sim: Sim):
    Path(sim.root + grub.DROP_IN).write_text('GRUB_CMDLINE_LINUX_DEFAULT="mine"\n')
    change = look(Inventory(sim.host), Wish("boot.words", "next boot", "host", STAGED, "test", {}))
    assert (change.state, "edited by hand" in str(change.error)) == ("failed", True)


def test_a_link_in_the_menus_place_is_not_replaced(sim: Sim):
    menu = Path(sim.root + grub.MENU)
    menu.rename(f"{menu}.real")
    menu.symlink_to("grub.cfg.real")
    assert "not made by grub-mkconfig" in grub.read_menu(tree(sim)).by_hand


@pytest.mark.promise("R1")
def test_a_kill_at_every_file_operation_of_staging_and_unstaging(
    new_sim: Callable[..., Sim], monkeypatch: pytest.MonkeyPatch, held: Callable[[int], None]
):
    """Dies before the Nth change of the file system: the menu is always whole, and unstaging ends it."""
    names = ("open", "rename", "unlink", "fsync", "fchmod", "mkdir")
    real = {name: getattr(os, name) for name in names}

    def run(work: Callable[[], None], number: int) -> bool:
        child = os.fork()
        if child == 0:
            count = 0

            def counted(name):
                def call(*arguments, **options):
                    nonlocal count
                    writes = name != "open" or arguments[1] & (os.O_WRONLY | os.O_RDWR)
                    count += bool(writes)
                    if writes and count == number:
                        os._exit(99)
                    return real[name](*arguments, **options)

                return call

            for name in names:
                setattr(os, name, counted(name))
            try:
                work()
                os._exit(0)
            except BaseException:  # noqa: BLE001
                import traceback

                traceback.print_exc()
                os._exit(1)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) in (0, 99)
        return os.waitstatus_to_exitcode(status) == 99

    sim = new_sim()
    clean = sim.text(grub.MENU)

    def stage():
        sim.host.syscalls.set_boot_words(grub.content_of(STAGED))

    def unstage():
        sim.host.syscalls.release_boot_words(None)

    number = 1
    while run(stage, number):
        assert sim.text(grub.MENU) in (clean, clean.replace(" quiet", f" quiet {STAGED}"))
        unstage()
        left = [path for path in sim.changed() if not path.endswith((".quietcore-new", ".quietcore-menu"))]
        assert left == [], number
        stage()
        unstage()
        assert sim.changed() == [], number
        held(1)
        number += 1
    assert number > 8
    staged = number
    number = 1
    stage()
    while run(unstage, number):
        assert sim.text(grub.MENU) in (clean, clean.replace(" quiet", f" quiet {STAGED}"))
        unstage()
        assert sim.text(grub.MENU) == clean
        stage()
        held(1)
        number += 1
    assert number > 4, staged


def test_unstaging_needs_no_grub_mkconfig_and_keeps_what_others_did_to_the_menu(sim: Sim):
    stage = sim.host.syscalls.set_boot_words
    stage(grub.content_of(STAGED))
    menu = Path(sim.root + grub.MENU)
    kernel = "menuentry 'newer' {\n\tlinux /boot/vmlinuz-newer root=/dev/nvme0n1p2 ro quiet " + STAGED + "\n}\n"
    menu.write_text(menu.read_text() + kernel)
    sim.host.syscalls.release_boot_words(None)
    text = menu.read_text()
    assert STAGED not in text
    assert text.endswith("menuentry 'newer' {\n\tlinux /boot/vmlinuz-newer root=/dev/nvme0n1p2 ro quiet\n}\n")
    assert text.startswith(sim.before["/boot/grub/grub.cfg"][2].decode())


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (["/run/ostree-booted"], "rpm-ostree kargs --append-if-missing='skew_tick=1'"),
        (["/boot/loader/entries/a.conf", "/boot/grub2/grub.cfg"], "grubby --update-kernel=ALL --args='skew_tick=1'"),
        (["/boot/efi/loader/loader.conf"], "add skew_tick=1 to /etc/kernel/cmdline"),
        ([], "no boot loader is known here: add skew_tick=1"),
        (["/boot/grub/grub.cfg", "/etc/default/grub"], "not booted by GRUB"),
    ],
)
def test_elsewhere_the_plan_says_what_to_add_by_hand(tmp_path: Path, sim: Sim, files: list[str], says: str):
    for name in (grub.MENU, grub.SETTINGS):
        Path(sim.root + name).unlink()
    for name in files:
        path = Path(sim.root + name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x\n")
    line = Path(sim.root + CMDLINE)
    line.chmod(0o644)
    line.write_text("root=/dev/sda1\n")
    path = sim.profile("[boot]\nskew_tick = 1\n")
    change = only(sim, path)
    assert change.state == "unsupported"
    assert says in str(change.error)
    line.write_text("root=/dev/sda1 skew_tick=1\n")
    assert only(sim, path).state == "ok"


def test_captured_hosts_plan_words_without_a_traceback(sim: Sim, captured_host):
    for name in (
        "intel-2node-16core-i350-connectx3",
        "intel-4node-interleaved-bnx2",
        "lab-8cpu-2numa-isolated",
        "lab-8cpu-2numa",
    ):
        host = open_host(captured_host(name))
        change = look(Inventory(host), Wish("boot.words", "next boot", "host", "nohz_full=2-3 skew_tick=1", "test", {}))
        assert change.state in ("unsupported", "ok"), change
    profile = load(sim.host.files, sim.profile(WORDS_OF))
    assert profile.get("boot", "isolcpus") is not None


# ------------------------------------------------------------------------------------------------------ the real grub-mkconfig

REAL = """
import os, sys
from tuner.host import commands, grub
from tuner.host.host import open_host
syscalls = open_host().syscalls
grub.make_menu(open("/boot/grub/grub.cfg", "wb"))
clean = open("/boot/grub/grub.cfg").read()
assert clean.count("\\tlinux\\t") + clean.count(" linux ") >= 1, clean
grub.running = lambda files: grub.parse("BOOT_IMAGE=/boot/vmlinuz ro quiet")
before = grub.read_menu(open_host().files)
assert before.supported and before.drop_in is None, before
words = "isolcpus=managed_irq,2-3 nohz_full=2-3 nosoftlockup"
syscalls.set_boot_words(grub.content_of(words))
staged = open("/boot/grub/grub.cfg").read()
kernels = [line.strip() for line in staged.split("\\n") if line.strip().startswith("linux")]
normal = [line for line in kernels if words in line]
recovery = [line for line in kernels if words not in line]
assert normal and recovery and all(" single" in line for line in recovery), kernels
upcoming = {str(word) for word in grub.read_menu(open_host().files).upcoming}
assert set(words.split()) <= upcoming, upcoming
assert open(grub.KEPT).read() == clean
again = "isolcpus=managed_irq,3"
syscalls.set_boot_words(grub.content_of(again))
assert words not in open("/boot/grub/grub.cfg").read()
syscalls.release_boot_words(grub.content_of(words))
assert open("/boot/grub/grub.cfg").read() == staged
with open("/etc/default/grub", "a") as file:
    file.write('GRUB_CMDLINE_LINUX="root=/dev/elsewhere"\\n')
try:
    syscalls.set_boot_words(grub.content_of(again))
    raise SystemExit("a change of somebody else was applied in passing")
except OSError as error:
    assert "update-grub would change more" in str(error), error
assert open("/boot/grub/grub.cfg").read() == staged
with open("/etc/default/grub", "a") as file:
    file.write("syntax error (\\n")
try:
    syscalls.set_boot_words(grub.content_of(again))
    raise SystemExit("a broken file of settings was taken")
except OSError as error:
    assert "grub-mkconfig ended with status" in str(error), error
assert open("/boot/grub/grub.cfg").read() == staged
syscalls.release_boot_words(None)
assert open("/boot/grub/grub.cfg").read() == clean
assert sorted(os.listdir("/boot/grub")) == ["grub.cfg"], os.listdir("/boot/grub")
assert sorted(os.listdir("/etc/default/grub.d")) == [], os.listdir("/etc/default/grub.d")
print("staged", len(normal), len(recovery))
"""


def test_the_real_grub_mkconfig_makes_the_menu(tmp_path: Path):
    """In a mount namespace with a /boot and an /etc/default of its own: nothing of this machine is touched."""
    if not os.path.exists(commands.GRUB_MKCONFIG):
        pytest.skip("grub-mkconfig is not installed (package grub-common)")
    boot, default = tmp_path / "boot", tmp_path / "default"
    (boot / "grub").mkdir(parents=True)
    (default / "grub.d").mkdir(parents=True)
    for name in ("vmlinuz-6.1.0-1-amd64", "initrd.img-6.1.0-1-amd64", "config-6.1.0-1-amd64"):
        (boot / name).write_text("x")
    (default / "grub").write_text('GRUB_TIMEOUT=5\nGRUB_CMDLINE_LINUX_DEFAULT="quiet"\nGRUB_CMDLINE_LINUX="console=tty0"\n')
    mounts = (
        f"mount --make-rprivate / && mount --bind {boot} /boot && mount --bind {default} /etc/default && "
        "grub-probe --target=device / >/dev/null && grub-probe --target=device /boot >/dev/null || exit 77\n"
        'exec "$0" -c "$1"'
    )
    command = ["unshare", "--mount", "bash", "-c", mounts, sys.executable, REAL]
    run = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=90, check=False)
    if run.returncode == 77 or "unshare failed" in run.stderr:
        pytest.skip(f"no namespace, or no device below /: {run.stderr.strip()}")
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("staged")
