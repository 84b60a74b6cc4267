"""Every lint, on a host that has the fault and on the same host without it."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from engine import Sim

from tuner.doctor import interrupts, kernel, network, programs, settings
from tuner.doctor.examine import LINTS, examine
from tuner.doctor.finding import SEVERITIES, Finding
from tuner.doctor.view import Ticks, View, read_ticks
from tuner.host.host import Host, Inventory, open_host
from tuner.host.simulated.documents import change_document

Lint = Callable[[View], Iterator[Finding]]


@pytest.fixture
def sim(new_sim: Callable[..., Sim]) -> Sim:
    return new_sim(nodes=2, cores=4, smt=2, nics=2, queues=4)


class Doctored:
    """A simulated host with files, processes and applied settings of the test's own."""

    def __init__(self, sim: Sim) -> None:
        self.sim = sim
        self.extra: list[tuple[str, str]] = []  # process name, pinned to
        self.options: dict[str, Any] = {"bindings": {"feed": "eth2"}}

    def put(self, name: str, content: str) -> "Doctored":
        path = Path(self.sim.root + name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            path.chmod(0o644)
        path.write_text(content)
        return self

    def runs(self, *names: str, on: str = "0-15") -> "Doctored":
        self.extra += [(name, on) for name in names]
        return self

    def nic(self, name: str, **parts: Any) -> "Doctored":
        change_document(f"{self.sim.root}/ethtool/{name}.json", lambda document: document.update(parts))
        return self

    def wants(self, knob: str, identity: str, value: Any) -> "Doctored":
        self.options.setdefault("wanted", {})[knob, identity] = value
        return self

    def view(self) -> View:
        host = self.sim.host
        rows = list(host.syscalls.threads())
        user = next(t for t in rows if not t.kernel)
        from tuner.host.cpulist import parse_list

        for n, (name, cpus) in enumerate(self.extra):
            rows.append(replace(user, tid=9000 + n, pid=9000 + n, name=name, allowed=parse_list(cpus)))
        processes = tuple(rows)

        class Port:
            def __getattr__(self, name: str) -> Any:
                return getattr(host.syscalls, name)

            def threads(self) -> Any:
                return processes

        return View(Inventory(Host(host.files, Port(), simulated=True)), **self.options)

    def finds(self, lint: Lint) -> list[Finding]:
        found = list(lint(self.view()))
        for finding in found:
            assert finding.severity in SEVERITIES
            assert finding.what
            assert finding.why
            assert finding.remedy
            assert finding.evidence
            assert "\x1b" not in json.dumps([finding.what, finding.subject, finding.remedy, *finding.evidence])
        return found


@pytest.fixture
def host(sim: Sim) -> Doctored:
    return Doctored(sim)


def isolate(host: Doctored, cpus: str) -> Doctored:
    return host.put("/sys/fs/cgroup/cpuset.cpus.isolated", cpus + "\n")


def eth2(host: Doctored) -> list:
    return [irq for irq in host.view().inventory.irqs if irq.device == "eth2" and irq.receives]


# --------------------------------------------------------------------------------------------------------------- programs


def test_irqbalance_and_a_partition_made_at_run_time(host: Doctored):
    assert host.finds(programs.irqbalance_moves_cores) == []
    (found,) = host.runs("irqbalance").finds(programs.irqbalance_moves_cores)
    assert found.severity == "medium"
    (found,) = isolate(host, "2-3").finds(programs.irqbalance_moves_cores)
    assert found.severity == "high"
    assert any("CPU 2-3 are isolated by a partition" in line for line in found.evidence)
    assert found.remedy.startswith('[services] irqbalance = "stop"')
    host.sim.host.syscalls.set_irqbalance_bans(frozenset({2, 3}), frozenset())
    assert host.finds(programs.irqbalance_moves_cores) == []
    (found,) = host.wants("irq.affinity", "x", "2").finds(programs.irqbalance_moves_cores)
    assert "1 interrupts are placed" in found.evidence[-1]


def test_tuned_running_with_its_profile_and_what_it_contests(host: Doctored):
    assert host.finds(programs.rivals) == []
    host.put("/etc/tuned/active_profile", "network-latency\x1b[2J\n").wants("sysctl.vm.swappiness", "vm.swappiness", 10)
    (found,) = host.runs("tuned").finds(programs.rivals)
    assert (found.severity, found.remedy) == ("high", '[services] tuned = "stop"')
    assert found.evidence[1].startswith("/etc/tuned/active_profile: network-latency\\x1b")
    assert "sysctl.vm.swappiness" in found.evidence[2]
    assert {f.subject for f in host.runs("thermald", "tlp", "numad", "chronyd").finds(programs.rivals)} == {
        "tuned", "thermald", "tlp", "numad",
    }  # fmt: skip


def test_tuned_that_waits_for_the_next_boot(host: Doctored):
    host.put("/etc/tuned/active_profile", "balanced\n")
    assert host.finds(programs.tuned_waits) == []
    host.put("/etc/systemd/system/multi-user.target.wants/tuned.service", "")
    (found,) = host.finds(programs.tuned_waits)
    assert "applies balanced at the next boot" in found.what
    assert host.runs("tuned").finds(programs.tuned_waits) == []


def test_two_clocks(host: Doctored):
    assert host.finds(programs.two_clocks) == []  # chronyd alone
    (found,) = host.runs("phc2sys").finds(programs.two_clocks)
    assert found.what == "2 programs steer the system clock: chrony, phc2sys"
    assert host.runs("timemaster").finds(programs.two_clocks) == []


def test_the_kubelet_and_libvirt(host: Doctored):
    host.put("/var/lib/kubelet/cpu_manager_state", '{"policyName":"none"}').put("/etc/libvirt/qemu/a.xml", "<domain/>")
    assert host.finds(programs.core_owners) == []
    host.put("/var/lib/kubelet/cpu_manager_state", '{"policyName":"static"}')
    host.put("/etc/libvirt/qemu/b.xml", "<cputune><vcpupin vcpu='0' cpuset='3'/></cputune>")
    assert [f.subject for f in host.finds(programs.core_owners)] == ["kubelet", "libvirt"]
    for broken in ("[]", "{", "[" * 100_000):
        host.put("/var/lib/kubelet/cpu_manager_state", broken)
        assert [f.subject for f in host.finds(programs.core_owners)] == ["libvirt"]


@pytest.mark.parametrize(
    ("path", "line", "word"),
    [
        ("/etc/rc.local", "/usr/sbin/mlnx_affinity start", "mlnx_affinity"),
        ("/etc/cron.d/nic", "@reboot root set_irq_affinity_bynode.sh 0 eth2", "set_irq_affinity_bynode"),
        ("/etc/network/if-up.d/sfc", "sfcaffinity_config auto", "sfcaffinity_config"),
        ("/etc/infiniband/openib.conf", "RUN_AFFINITY_TUNER=yes", "RUN_AFFINITY_TUNER=yes"),
        ("/etc/udev/rules.d/70.rules", 'ACTION=="add", RUN+="/sbin/ethtool -G $name rx 4096"', "ethtool -G"),
        ("/etc/NetworkManager/dispatcher.d/99-irq", "echo 4 > /proc/irq/40/smp_affinity", "/smp_affinity"),
    ],
)
def test_scripts_that_write_what_profiles_set(host: Doctored, path: str, line: str, word: str):
    host.put(path, f"#!/bin/sh\n# {line}\n")
    assert host.finds(programs.scripts) == []
    (found,) = host.put(path, f"#!/bin/sh\n{line}\n").finds(programs.scripts)
    assert (found.subject, word in found.what) == (path, True)


# --------------------------------------------------------------------------------------------------------------- settings


def test_sysctl_files_in_their_order(host: Doctored):
    host.put("/usr/lib/sysctl.d/50-a.conf", "vm.swappiness = 60\n")
    assert host.finds(settings.sysctl_files) == [], "no profile is applied"
    host.wants("sysctl.vm.swappiness", "vm.swappiness", 10)
    (found,) = host.finds(settings.sysctl_files)
    assert found.evidence == ("/usr/lib/sysctl.d/50-a.conf: vm.swappiness = 60",)
    host.put("/etc/sysctl.d/60-b.conf", "# vm.swappiness = 1\n-vm/swappiness=10\n")
    assert host.finds(settings.sysctl_files) == [], "the later name wins"
    host.put("/etc/sysctl.conf", "vm.swappiness=30")
    assert "/etc/sysctl.conf" in host.finds(settings.sysctl_files)[0].evidence[0]
    host.put("/etc/sysctl.conf", "")
    host.put("/usr/lib/sysctl.d/99-z.conf", "vm.swappiness=5").put("/etc/sysctl.d/99-z.conf", "")
    assert host.finds(settings.sysctl_files) == [], "the same name in /etc hides it"


def test_vectors_and_dotted_interfaces_of_sysctl_files(host: Doctored):
    host.wants("sysctl.net.ipv4.tcp_rmem", "net.ipv4.tcp_rmem", "4096 131072 67108864")
    host.put("/etc/sysctl.d/a.conf", "net.ipv4.tcp_rmem = 4096\t131072  67108864\nnet/ipv4/conf/eth2.100/rp_filter = 1\n")
    assert host.finds(settings.sysctl_files) == []
    host.wants("sysctl.x", "net.ipv4.conf.eth2.100.rp_filter", 2)
    (found,) = host.finds(settings.sysctl_files)
    assert found.subject == "net.ipv4.conf.eth2.100.rp_filter"


def test_a_connection_of_networkmanager(host: Doctored):
    path = "/etc/NetworkManager/system-connections/feed.nmconnection"
    text = "[connection]\ninterface-name={}\n[ethtool]\nring-rx={}\nfeature-gro=false\n"
    host.put(path, text.format("eth9", 1024))
    assert host.finds(settings.network_manager) == []
    (found,) = host.put(path, text.format("eth2", 1024)).finds(settings.network_manager)
    assert (found.severity, "ring-rx = 1024" in found.what, "feature-gro = false" in found.what) == ("medium", True, True)
    assert "[nic.feed]" in found.remedy
    host.put(path, "[connection]\ninterface-name=eth2\n[ethtool]\nring-rx=512\n")
    assert host.finds(settings.network_manager) == [], "the same as there is"
    identity = host.view().inventory.nic("eth2").identity
    (found,) = host.wants("nic.rings.rx", identity, 4096).finds(settings.network_manager)
    assert "ring-rx = 512" in found.what
    host.put(path, "no section\n[[[\n")
    assert host.finds(settings.network_manager) == []


def test_the_network_scripts(host: Doctored):
    host.put("/etc/sysconfig/network-scripts/ifcfg-eth2", 'ETHTOOL_OPTS="-G eth2 rx 4096"\n')
    (found,) = host.finds(settings.network_manager)
    assert "ethtool_opts" in found.what


def test_link_files_the_first_that_matches(host: Doctored):
    host.put("/etc/systemd/network/10-feed.link", "[Match]\nOriginalName=eth*\n[Link]\nRxBufferSize=max\nRxChannels=2\n")
    assert {f.subject for f in host.finds(settings.link_files)} == {"eth2", "eth3", *others(host)}
    host.put("/etc/systemd/network/05-none.link", "[Match]\nOriginalName=*\n[Link]\nMACAddressPolicy=none\n")
    assert host.finds(settings.link_files) == [], "another file matches before it"
    host.put("/etc/systemd/network/05-none.link", "[Match]\nDriver=mlx5_core\n[Link]\nName=x\n")
    mac = host.view().inventory.nic("eth3").mac.upper()
    host.put("/etc/systemd/network/10-feed.link", f"[Match]\nMACAddress={mac}\n[Link]\nRxCoalesceSec=50us\nName=feed\n")
    (found,) = host.finds(settings.link_files)
    assert (found.subject, "rxcoalescesec = 50us" in found.what, found.severity) == ("eth3", True, "low")


def others(host: Doctored) -> set[str]:
    return {n.name for n in host.view().inventory.nics if n.physical and n.name.startswith("eth")} - {"eth2", "eth3"}


# ------------------------------------------------------------------------------------------------------------- interrupts


def test_interrupts_on_isolated_cores(host: Doctored):
    assert host.finds(interrupts.on_isolated) == []
    irq = eth2(host)[1]
    (cpu,) = irq.effective
    isolate(host, str(cpu))
    (found,) = [f for f in host.finds(interrupts.on_isolated) if f.severity == "high"]
    assert (found.subject, irq.label in found.what) == (f"CPU {cpu}", True)
    host.wants("irq.affinity", irq.identity, str(cpu))
    left = [f for f in host.finds(interrupts.on_isolated) if f.severity == "high"]
    assert not any(irq.label in f.what for f in left), "placed there by the profile"


def test_managed_interrupts_are_the_boots_to_move(host: Doctored):
    managed = next(irq for irq in host.view().inventory.irqs if irq.managed and irq.effective and 0 not in irq.effective)
    isolate(host, str(next(iter(managed.effective))))
    found = next(f for f in host.finds(interrupts.on_isolated) if "managed" in f.what)
    assert found.remedy.startswith('[boot] isolcpus = "managed_irq,{')


def test_a_receive_interrupt_on_a_core_that_spins(host: Doctored):
    irq = eth2(host)[1]
    (cpu,) = irq.effective
    isolate(host, str(cpu)).runs("md_feed", on=str(cpu))
    host.options |= {"before": Ticks({cpu: 0}, {cpu: 0}, {}), "after": Ticks({cpu: 100}, {cpu: 50}, {}), "seconds": 1.0}
    assert host.finds(interrupts.on_spinner) == []
    host.options["after"] = Ticks({cpu: 100}, {cpu: 99}, {})
    (found,) = host.finds(interrupts.on_spinner)
    assert f"{irq.label} interrupts a core on which md_feed spins (99% busy)" in found.what


def test_queues_on_another_node_than_their_nic(host: Doctored):
    nic = host.view().inventory.nic("eth2")
    away = min(host.view().inventory.topology.online - host.view().inventory.topology.nodes[nic.node])
    near = min(host.view().inventory.topology.nodes[nic.node])
    for irq in eth2(host):
        host.sim.write(f"/proc/irq/{irq.number}/smp_affinity_list", str(near))
    assert [f for f in host.finds(interrupts.remote_node) if f.subject == "eth2"] == []
    irq = eth2(host)[0]
    host.sim.write(f"/proc/irq/{irq.number}/smp_affinity_list", str(away))
    (found,) = [f for f in host.finds(interrupts.remote_node) if f.subject == "eth2"]
    assert f"interrupt CPU {away} of another node" in found.what
    assert "node(feed)" in found.remedy


def test_a_busy_sibling(host: Doctored):
    isolate(host, "2")
    host.options |= {"before": Ticks({10: 0}, {10: 0}, {}), "after": Ticks({10: 100}, {10: 2}, {}), "seconds": 1.0}
    assert host.finds(interrupts.busy_sibling) == []
    host.options["after"] = Ticks({10: 100}, {10: 40}, {})
    (found,) = host.finds(interrupts.busy_sibling)
    assert "CPU 10, the other thread of its core, is not, and is 40% busy" in found.what
    isolate(host, "2,10")
    assert host.finds(interrupts.busy_sibling) == []


# ---------------------------------------------------------------------------------------------------------------- network


def test_strict_reverse_path_filtering_where_groups_are_joined(host: Doctored):
    host.put("/proc/sys/net/ipv4/conf/all/rp_filter", "0\n").put("/proc/sys/net/ipv4/conf/eth2/rp_filter", "1\n")
    (found,) = host.finds(network.reverse_path)
    assert (found.severity, found.remedy) == ("high", '[sysctl] "net.ipv4.conf.eth2.rp_filter" = 2')
    host.put("/proc/sys/net/ipv4/conf/eth2/rp_filter", "2\n")
    assert host.finds(network.reverse_path) == []
    host.put("/proc/sys/net/ipv4/conf/all/rp_filter", "1\n")
    assert [f.subject for f in host.finds(network.reverse_path)] == ["eth3"]
    host.put("/proc/net/igmp", "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n")
    assert host.finds(network.reverse_path) == []


def test_socket_buffers_smaller_than_a_burst(host: Doctored):
    assert {f.subject for f in host.finds(network.receive_buffers)} == {"eth2", "eth3"}
    host.sim.write("/proc/sys/net/core/rmem_max", "67108864")
    assert host.finds(network.receive_buffers) == []


def test_pause_on_a_feed_port(host: Doctored):
    found = host.finds(network.pause)
    assert [f.subject for f in found] == ["eth2", "eth3"]
    assert found[0].remedy.startswith("[nic.feed]")
    for name in ("eth2", "eth3"):
        host.nic(name, pause={"autoneg": False, "rx": False, "tx": False})
    assert host.finds(network.pause) == []
    host.nic("eth2", pause={"autoneg": True, "rx": False, "tx": True})
    assert [f.what for f in host.finds(network.pause)] == ["eth2 sends pause frames"]


def test_pause_as_a_driver_says_it(host: Doctored):
    view = host.view()
    view.inventory.host.syscalls.__class__.driver_settings = lambda self, name: {"pause": "010000000100000000000000"}
    assert view.pause("eth2") == (True, False)
    view.inventory.host.syscalls.__class__.driver_settings = lambda self, name: {"pause": "0100"}
    assert view.pause("eth2") is None


def test_rings_larger_than_their_share_of_the_cache(host: Doctored):
    for index in ("index2", "index3"):
        host.put(f"/sys/devices/system/cpu/cpu0/cache/{index}/level", index[-1] + "\n")
        host.put(f"/sys/devices/system/cpu/cpu0/cache/{index}/size", "32768K\n" if index == "index3" else "1024K\n")
    assert host.finds(network.ring_and_cache) == []
    host.sim.host.syscalls.set_rings("eth2", rx=4096)
    (found,) = host.finds(network.ring_and_cache)
    assert "4 rings of 4096 descriptors are 32 MiB of buffers; about 3 MiB" in found.what
    assert found.remedy.startswith('[nic.feed] rings = { rx = "max:512" }'), found.remedy


def test_a_pcie_link_below_what_it_can(host: Doctored):
    assert host.finds(network.link_speed) == []
    base = f"/sys/bus/pci/devices/{host.view().inventory.nic('eth2').pci}"
    (found,) = host.put(f"{base}/current_link_width", "4\n").finds(network.link_speed)
    assert "8 GT/s x4 of 8 GT/s x8" in found.what
    host.put(f"{base}/current_link_width", "8\n").put(f"{base}/current_link_speed", "2.5 GT/s PCIe\n")
    assert "2.5 GT/s x8" in host.finds(network.link_speed)[0].what
    host.put(f"{base}/current_link_speed", "Unknown\n")
    assert host.finds(network.link_speed) == []


def test_both_lines_in_one_queue_or_on_one_core(new_sim: Callable[..., Sim]):
    host = Doctored(new_sim(nics=2, queues=1))
    assert {f.subject for f in host.finds(network.one_queue)} >= {"eth2", "eth3"}
    many = Doctored(new_sim(nics=2, queues=2))
    for irq in many.view().inventory.irqs:
        if irq.device in ("eth2", "eth3") and irq.receives:
            many.sim.write(f"/proc/irq/{irq.number}/smp_affinity_list", "2")
    assert [f.subject for f in many.finds(network.one_queue)] == ["eth2 and eth3"]
    for irq in many.view().inventory.irqs:
        if irq.device == "eth3" and irq.receives:
            many.sim.write(f"/proc/irq/{irq.number}/smp_affinity_list", "3")
    assert many.finds(network.one_queue) == []


# ----------------------------------------------------------------------------------------------------------------- kernel


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ("kthread_cpus=0-1", "kthread_cpus=0-1 is no parameter of any mainline kernel"),
        ("amd_iommu=on", "amd_iommu=on means nothing: it is on by default"),
        ("intel_iommu=pt", "intel_iommu=pt means nothing: that is iommu=pt"),
        ("isolcpu=2-3", "isolcpu=2-3 is not known; isolcpus is"),
        ("rcu-nocb=2-3", "rcu_nocb=2-3 is not known; rcu_nocbs is"),
        ("isolcpus=managed,2-3", "isolcpus= has no flag managed"),
    ],
)
def test_words_that_no_kernel_knows(host: Doctored, words: str, what: str):
    assert host.finds(kernel.unknown_words) == []
    (found,) = host.put("/proc/cmdline", f"BOOT_IMAGE=/a root=/b ro {words} -- kthread_cpus=9\n").finds(kernel.unknown_words)
    assert found.what == what


@pytest.mark.parametrize(
    "words",
    [
        "isolcpus=managed_irq,domain,2-3 nohz_full=2-3 nohz=on idle=poll hugepagesz=1G hugepages=4 hugepagesz=2M hugepages=512",
        "mitigations=auto console=ttyS0 quiet reboot=k panic=1 nomodule swiotlb=noforce cpuidle_haltpoll.force=1 rdinit=/x",
        "crashkernel=auto rd.lvm.lv=a/root rhgb quiet intel_iommu=on iommu=pt nosmap noirqdebug irqpoll nox2apic",
        "tuned.non_isolcpus=000000ff skew_tick=1 tsc=reliable rcupdate.rcu_normal_after_boot=1 nosoftlockup",
    ],
)
def test_words_of_real_hosts_are_no_findings(host: Doctored, words: str):
    host.put("/proc/cmdline", words + "\n")
    assert host.finds(kernel.unknown_words) == []
    assert host.finds(kernel.contradicting_words) == []


def test_a_word_twice(host: Doctored):
    host.put("/proc/cmdline", "isolcpus=2-3 isolcpus=domain,2,3\n")
    assert host.finds(kernel.contradicting_words) == []
    (found,) = host.put("/proc/cmdline", "isolcpus=2-3 isolcpus=managed_irq,2-3\n").finds(kernel.contradicting_words)
    assert found.severity == "high"


def test_nohz_full_that_the_kernel_did_not_take(host: Doctored):
    host.put("/proc/cmdline", "nohz_full=2-3\n").put("/sys/devices/system/cpu/nohz_full", "2-3\n")
    assert host.finds(kernel.ignored_words) == []
    (found,) = host.put("/sys/devices/system/cpu/nohz_full", "     (null)\n").finds(kernel.ignored_words)
    assert "no CPU is without its tick" in found.what


def test_another_clock_than_the_tsc(host: Doctored):
    assert host.finds(kernel.clock) == []
    base = "/sys/devices/system/clocksource/clocksource0"
    (found,) = host.put(f"{base}/current_clocksource", "hpet\n").finds(kernel.clock)
    assert (found.severity, "tsc is available" in found.what) == ("high", True)
    host.put(f"{base}/available_clocksource", "hpet acpi_pm \n")
    assert host.finds(kernel.clock)[0].remedy == '[boot] tsc = "reliable"'
    (found,) = host.put(f"{base}/current_clocksource", "kvm-clock\n").finds(kernel.clock)
    assert found.severity == "low"


def test_a_tick_where_there_should_be_none(host: Doctored):
    host.put("/sys/devices/system/cpu/nohz_full", "2-3\n")
    spent = Ticks({2: 0, 3: 0}, {2: 0, 3: 0}, {2: 0, 3: 0})
    host.options |= {"before": spent, "after": Ticks({2: 100, 3: 100}, {2: 99, 3: 99}, {2: 1, 3: 9}), "seconds": 1.0}
    assert host.finds(kernel.tick) == []
    host.options["after"] = Ticks({2: 100, 3: 100}, {2: 99, 3: 99}, {2: 1, 3: 250})
    (found,) = host.finds(kernel.tick)
    assert "1 CPUs of nohz_full tick; CPU 3 250 times a second" in found.what


def test_the_counters_of_cpus_are_read(sim: Sim):
    ticks = read_ticks(sim.host.files)
    assert set(ticks.total) == set(ticks.timer) == set(range(16))
    assert all(ticks.busy[cpu] <= ticks.total[cpu] for cpu in ticks.total)


# ------------------------------------------------------------------------------------------------------------- all of them


def test_every_lint_has_its_test():
    text = Path(__file__).read_text()
    for lint in LINTS:
        assert f"{lint.__module__.rpartition('.')[2]}.{lint.__name__})" in text, lint.__name__


@pytest.mark.parametrize(
    "name",
    ["intel-2node-16core-i350-connectx3", "intel-4node-interleaved-bnx2", "lab-8cpu-2numa", "lab-8cpu-2numa-isolated"],
)
def test_captured_hosts(name: str, captured_host: Callable[[str], str]):
    view = View(Inventory(open_host(captured_host(name))))
    found = examine(view)
    assert list(found) == sorted(found, key=lambda f: SEVERITIES.index(f.severity))


def test_this_machine_as_nobody_and_as_root():
    import os

    view = View(Inventory(open_host()), before=read_ticks(open_host().files))
    examine(view)
    if os.geteuid() == 0:
        child = os.fork()
        if child == 0:
            os.setgid(65534)
            os.setuid(65534)
            try:
                examine(View(Inventory(open_host())))
                os._exit(0)
            except BaseException:  # noqa: BLE001
                import traceback

                traceback.print_exc()
                os._exit(1)
        assert os.waitpid(child, 0)[1] == 0


def test_what_a_user_may_not_read_is_said(host: Doctored):
    import os

    if os.geteuid() != 0:
        pytest.skip("needs root to become nobody")
    host.put("/etc/NetworkManager/system-connections/a.nmconnection", "[ethtool]\nring-rx=1\n")
    Path(host.sim.root + "/etc/NetworkManager/system-connections").chmod(0o700)
    view = host.view()
    os.seteuid(65534)
    try:
        # the tree's own parents may be closed to nobody, too: then everything is unseen, and said to be
        list(settings.network_manager(view))
    finally:
        os.seteuid(0)
    assert not view.unseen or "networkmanager saw nothing of it" in view.unseen[0]


def test_the_command_finds_and_says_where(sim: Sim):
    done = sim.run("doctor")
    assert done.returncode == 2
    assert "remedy  [nic.feed] pause" in done.stdout
    assert "SIMULATED" in done.stderr
    record = sim.json("doctor", status=2)
    assert list(record)[:3] == ["schema", "command", "changed"]
    assert record["summary"]["medium"] == len(record["findings"]) == 4
    assert {f["lint"] for f in record["findings"]} == {"pause", "receive-buffer"}
    assert sim.changed() == []


def test_the_command_holds_files_against_the_applied_profile(sim: Sim):
    sim.apply(sim.profile('[sysctl]\n"vm.swappiness" = 10\n"net.core.rmem_max" = 67108864\n'))
    Path(sim.root + "/etc/sysctl.d").mkdir()
    Path(sim.root + "/etc/sysctl.d/x.conf").write_text("vm.swappiness = 60\n")
    record = sim.json("doctor", status=2)
    assert {f["lint"] for f in record["findings"]} == {"pause", "sysctl-file"}


def test_nothing_found_is_zero(new_sim: Callable[..., Sim]):
    sim = new_sim(nics=1)
    Path(sim.root + "/etc/quietcore/host.toml").write_text("[bind]\n")
    change_document(f"{sim.root}/ethtool/eth2.json", lambda d: d.update(pause={"autoneg": False, "rx": False, "tx": False}))
    sim.write("/proc/sys/net/core/rmem_max", "67108864")
    done = sim.run("doctor")
    assert (done.returncode, done.stdout) == (0, "found: nothing\n")
