"""What each screen shows, in the words of somebody who explains it to a colleague: the help's second part.

A paragraph begins with its heading. Where a line ends here means nothing: it is wrapped where it is drawn.
"""

from ui.keys import Screen

Text = tuple[str, str]  # heading, what it says


def _texts(block: str) -> tuple[Text, ...]:
    paragraphs = (" ".join(each.split()) for each in block.strip().split("\n\n"))
    return tuple((heading, words) for heading, _, words in (each.partition(": ") for each in paragraphs))


READING = _texts("""
level: How much is told twice, by height and by colour: · nothing, then ▁▂▃▄▅▆▇█. The scale is logarithmic: each step
is some times the one before, and anything above nothing shows.

colour: High is not bad. Blue is work, however much of it. Amber deserves a look, red is a fault, and which it is
depends on what the core is for: 8,000 interrupts a second are a housekeeping core's work, one a second is red on an
isolated core. Violet marks what is not this host live: a demo, a recording, files.

roles: H housekeeping: where the kernel's work belongs. I isolated: nothing may interrupt it. R and T receive and
transmit: NIC interrupts are at home there. A application: a trading thread's own core, as strict as isolated. G
general: nothing is isolated on this host, so nothing is a fault. A lower-case letter is the second thread of a core.

header: Host, profile and how many of its settings moved since; then LIVE, PAUSED and how far behind, REPLAY and the
time of the recording, VIEW of another host, DEMO, SIMULATED or FILES; then what watching costs, in per cent of one
core, and the CPUs on which it is paid.

time: Pause freezes the view alone. Step, minute and go to move it among the samples that were kept, live as in a
recording; pause again to return to now. Counting, the recorder and a pending undo go on all the while.

filter: Words that must all match: a name, core:8-63, rate>10, policy:break. ! before one turns it round.
""")

SHOWS: dict[Screen, tuple[Text, ...]] = {
    "overview": _texts("""
maps: One glyph for each core, in the order of the machine: by node, last-level cache, core, sibling. The figure on
the right is the row's highest. Under the cores stand their roles.

figures: intr/s is all rows of /proc/interrupts for that core: device interrupts, timer tick, inter-processor
interrupts, NMIs. dev/s is devices alone. tick/s near 0 means that nohz_full works there. drop/s are packets that the
core's softnet backlog had no room for. busy is user, system, irq and softirq time.

worst first: Cores that lose packets, then reserved cores that something interrupted, then the busiest. Why names the
cause; where a profile can end it, fix opens the plan.

losses: Each place between the wire and the application where a packet can be lost, by stage. Per second, and since
boot. A place that this host has no counter for is said to be unseen: that is not the same as zero.
"""),
    "core": _texts("""
history: One column is as long as the header of the history says; longer and shorter change that. A column holds the
highest figure in it, so that a short burst stays visible.

who: Interrupts that fired here, with their share, and when last. BREAK is against the policy of the core, rare less
than one a second of it, was not now, may none yet though this core is its target, tick a running tick.

peers: The same figures beside other cores of this role: what stands out here and not there is local.
"""),
    "irqs": _texts("""
columns: irq is the row of /proc/interrupts; source is what its driver calls it. allowed is what was written to
smp_affinity_list, effective where the kernel put it: they differ when the interrupt controller takes one CPU only.

policy: BREAK fired on an isolated or application core, WIDE may fire there. Managed interrupts cannot be moved by
anybody: the kernel spreads them, and isolcpus=managed_irq keeps them away at boot.

LOC RES CAL TLB: Not devices: the local timer's tick, rescheduling, function calls and TLB shootdowns from other
cores. No affinity moves them; fewer threads, fewer mappings and nohz_full do.
"""),
    "nic": _texts("""
waterfall: From the wire to the application, stage by stage, each with its own counter. Losses and filtered packets
may be added up; a detail is part of another row, a delay loses nothing. ! is lost, ~ late or under pressure, 0?
nothing counted where the counter that matters most is unseen.

window: Losses of the last second, of the last minute, or since the mark. A mark changes no counter of the kernel.

queues: Each receive queue with the interrupt and the core that serve it, and its share of the packets. A queue served
by an isolated core, or one that drops, is red.

ring: rx ring 512/4096: descriptors in use by the driver, and how many it could have. rx_missed_errors or rx_no_buffer
that rise mean that the ring was full when a burst came: fix plans a larger one.
"""),
    "ingest": _texts("""
rings: A packet ring is memory that the kernel shares with the reader. Drops are packets for which it had no room; a
freeze is one filling-up, however many were lost in it.

latency: From the kernel's (or with hardware stamps the NIC's) time stamp to the reader, p50 and p99. Stages of one
path do not add up at p99.

feeds: Sequence numbers followed line by line: gaps are numbers that came on no line in time; late ones came out of
order, dups twice. With lines A and B, a gap on one alone is covered. Each gap is judged by what the host's own
counters say of that moment: linked leads there.
"""),
    "profiles": _texts("""
flow: Enter plans: every setting with now, wanted, why, what it disturbs and how it is undone. Nothing is written.
Space takes a change in or out; apply writes what is picked, reads each back, and verifies all of it again.

keep or undo: What was applied undoes itself when the countdown ends, unless it is kept. The countdown is a process of
its own: closing the app or losing the connection never stops it. U puts everything back at once.

marks: ~ differs, blank is as wanted, k kernel-managed, r pending a reboot, - not supported here, ? cannot be read
back, ! failed. link means that the interface goes down for a moment.
"""),
    "events": _texts("""
levels: info, warn, crit. Warnings and critical events stay open until acknowledged or over; the tab counts them. A
critical event makes the recorder, if it is armed, keep the minute before and the half after in a file.

linked: What else happened at that moment and shares a core, queue or interface with it: a hint at the cause. linked
goes there; fix opens the plan that would prevent it.
"""),
}
