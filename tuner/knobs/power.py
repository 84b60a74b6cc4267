"""``[power]``: frequency, turbo, idle states, uncore; what is set of each stands in the file of its kind.

The order: a governor before the preference that it holds; ranges before turbo, which moves their ends, so that on the way back
the ends are there again; the process that holds a latency last.
"""

from tuner.knobs import frequency, uncore
from tuner.knobs.dma_latency import DmaLatency
from tuner.knobs.frequency import EnergyBias, EnergyPreference, FrequencyRange, Governor
from tuner.knobs.frequency_range import MIN
from tuner.knobs.idle import (
    IdleGovernor,
    IdleStates,
    ResumeLatency,
    UmwaitDeep,
    UmwaitTime,
    ask_resume_latency,
    ask_umwait_time,
)
from tuner.knobs.turbo import LeastPerformance, PolicyTurbo, Turbo, ask_turbo
from tuner.knobs.uncore import PlatformProfile, UncoreRange
from tuner.knobs.words import on_words
from tuner.language.entry import Entry, Family, on_cpus, on_host
from tuner.language.request import Request
from tuner.language.tables import PerCpu
from tuner.language.values import Flag, Whole, Word

_INT_MAX = (1 << 31) - 1
_KHZ = Whole(
    1,
    20_000_000,
    "kHz",
    named=(MIN,),
    maximum=True,
    example='for example 3000000, "min", "max", or "max:3000000" for at most that',
)
_US = "µs of exit latency"


def _ask(request: Request) -> None:
    frequency.ask(request)
    uncore.ask(request)


FAMILY = Family(
    "Power",
    (
        Governor(),
        EnergyPreference(),
        EnergyBias(),
        FrequencyRange(),
        LeastPerformance(),
        Turbo(),
        PolicyTurbo(),
        UncoreRange(),
        PlatformProfile(),
        IdleGovernor(),
        IdleStates(),
        ResumeLatency(),
        UmwaitDeep(),
        UmwaitTime(),
        DmaLatency(),
    ),
    (
        Entry(("power", "governor"), PerCpu(Word(example="performance")), "who chooses the frequency"),
        Entry(
            ("power", "epp"),
            PerCpu(Word(("performance", "balance_performance", "balance_power", "power"))),
            "what the hardware prefers where it chooses itself",
        ),
        Entry(
            ("power", "epb"),
            PerCpu(Whole(0, 15, bounds=False)),
            "Intel's older hint: 0 is performance, 15 saves power",
            on_cpus("power.epb"),
        ),
        Entry(("power", "min_freq_khz"), PerCpu(_KHZ), "the lowest frequency", knobs=("power.freq_khz",)),
        Entry(("power", "max_freq_khz"), PerCpu(_KHZ), "the highest frequency", knobs=("power.freq_khz",)),
        Entry(
            ("power", "min_perf_percent"),
            Whole(0, 100, "percent", bounds=False),
            "the least performance that intel_pstate asks for",
            on_host("power.min_perf_percent"),
        ),
        Entry(
            ("power", "turbo"),
            PerCpu(Flag()),
            "whether cores may run above their base frequency",
            ask_turbo,
            ("power.turbo", "power.policy_turbo"),
        ),
        Entry(
            ("power", "uncore_min_khz"),
            PerCpu(_KHZ),
            "the lowest uncore frequency of the packages of a core set",
            knobs=("power.uncore_khz",),
        ),
        Entry(
            ("power", "uncore_max_khz"),
            PerCpu(_KHZ),
            "the highest uncore frequency of the packages of a core set",
            knobs=("power.uncore_khz",),
        ),
        Entry(
            ("power", "platform_profile"),
            Word(example="performance"),
            "what firmware is told to favour",
            on_words(PlatformProfile),
        ),
        Entry(("power", "cpuidle_governor"), Word(example="menu"), "who chooses the idle state", on_words(IdleGovernor)),
        Entry(
            ("power", "cstate_limit_us"),
            PerCpu(Whole(0, _INT_MAX, _US, bounds=False)),
            "idle states that take longer to leave are switched off",
            on_cpus("power.cstate_limit_us"),
        ),
        Entry(
            ("power", "resume_latency_us"),
            PerCpu(
                Whole(0, _INT_MAX, _US, named=("n/a",), bounds=False, example='for example 2, "n/a" for none, or 0 for any')
            ),
            'the latency that a CPU bears: "n/a" for none, 0 for any',
            ask_resume_latency,
        ),
        Entry(
            ("power", "umwait", "enable_c02"), Flag(), "whether user space may wait in C0.2", on_host("power.umwait.enable_c02")
        ),
        Entry(
            ("power", "umwait", "max_time_cycles"),
            Whole(0, (1 << 32) - 4, "cycles of the TSC", bounds=False),
            "how long user space may wait so; a multiple of 4, 0 for no limit",
            ask_umwait_time,
        ),
        Entry(
            ("power", "dma_latency_us"),
            Whole(0, 1_999_999_999, _US, bounds=False),
            "the latency that the whole host bears, held by a process of its own",
            on_host("power.dma_latency_us"),
        ),
    ),
    _ask,
)
