"""From the wire to the application: the stages of one interface as rows, and as a line of boxes that sums them up.

What may be added up, and what is not visible, is ``ingest.stages``' to say: a stage without a counter never shows a zero.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from ingest.sample import LossSample, NicSample, Sample
from ingest.stages import AGGREGATE, DELAY, DETAIL, LOSS, WARNING, folded, ranges, worst_first
from ui.app.state.nic_past import Key, key_of
from ui.app.widgets.lines import Line, cut, fit, seg
from ui.app.widgets.ramp import BLOCKS, glyphs, short
from ui.app.widgets.table import Column, Row, Value
from ui.app.widgets.tones import BAD, CURSOR, DIM, HEAD, WARN

SECOND, MINUTE, MARK, BOOT = "second", "minute", "mark", "boot"
UNSEEN = "unseen"
_FEED = 26
# title, stages, and the one of them without which the sum does not tell
GROUPS = (
    ("wire", (0, 1), 1),
    ("phy", (2, 3, 4), 2),
    ("fifo", (5, 6), 5),
    ("ring", (7, 8, 9), 7),
    ("napi", (10, 11, 12, 13), 11),
    ("socket", (14, 15, 16, 17, 18, 19, 20, 23), 18),
    ("app ring", (21, 22, 24, 25), 21),
    ("feed", (_FEED,), _FEED),
)
_WIDE = 130


@dataclass(frozen=True, slots=True)
class Window:
    """A span of time. ``counted`` is what each row counted in it; None takes the rates of the sample."""

    name: str
    title: str  # of a column
    words: str
    counted: Mapping[Key, int] | None = None


@dataclass(frozen=True, slots=True)
class Stages:
    """The rows of one interface, with what they counted in a window in the place of their rates.

    ``every`` is in the order of what deserves room: what was lost, one row of each stage, what cannot be seen, the others.
    """

    window: Window
    rows: tuple[LossSample, ...] = ()
    every: tuple[LossSample, ...] = ()
    blind: frozenset[int] = frozenset()


def stages_of(sample: Sample, nic: str, window: Window) -> Stages:
    """The stages from an interface's wire to the application; what other interfaces counted is left out."""
    others = {other.name for other in sample.nics} - {nic}
    mine = [loss for loss in sample.losses if loss.where not in others]
    counted = window.counted
    if counted is not None:
        mine = [_counting(loss, counted.get(key_of(loss), 0)) for loss in mine]
    seen = {loss.stage for loss in mine if loss.visible}
    told = folded(worst_first(mine), alike=2)
    there = {loss.stage for loss in told}
    quiet = folded([loss for loss in mine if loss.visible and not loss.total and not loss.per_s], alike=1)
    blind = folded([loss for loss in mine if not loss.visible and loss.stage not in seen], alike=1)
    first: list[LossSample] = []
    rest: list[LossSample] = []
    for loss in quiet:
        (rest if loss.stage in there else first).append(loss)
        there.add(loss.stage)
    unseen = frozenset(loss.stage for loss in blind)
    return Stages(window, tuple(mine), (*told, *first, *blind, *rest), unseen)


def _counting(loss: LossSample, count: int) -> LossSample:
    return loss if loss.per_s == count else replace(loss, per_s=float(count))


# ---- rows


def columns(window: Window, width: int) -> tuple[Column, ...]:
    """The columns of the stages, for ``LiveTable``."""
    count = Column(window.title, 7, True, "lost")
    if width < _WIDE:
        return (
            Column("lost at", 29, key="stage"), Column("kind", 8, key="kind"), count, Column("since boot", 10, True, "total"),
            Column("counter", 0, key="counter"),
        )  # fmt: skip
    return (
        Column("lost at", 38, key="stage"), Column("kind", 9, key="kind"), count, Column("since boot", 12, True, "total"),
        Column("where", 14, key="where"), Column("counter", 30, key="counter"), Column("what it says", 0),
    )  # fmt: skip


def rows(stages: Stages, room: int, wide: bool, changed: bool) -> list[Row]:
    """Rows for ``room`` lines: all in the order of the stages; where they do not fit, the worst first, in that order, too."""
    every = stages.every
    if changed:
        every = tuple(loss for loss in every if loss.visible and loss.per_s)
    order = [*sorted(every[:room], key=lambda loss: loss.stage), *every[room:]]
    return [_row(loss, stages, wide) for loss in order]


def row_key(loss: LossSample) -> str:
    """The name of a row, as events and other screens know it."""
    return f"{loss.stage}/{loss.where}/{loss.counter or loss.name}"


def _row(loss: LossSample, stages: Stages, wide: bool) -> Row:
    name = f"{loss.stage:>2} {loss.name}"
    values: dict[str, Value] = {
        "stage": loss.stage, "name": loss.name, "where": loss.where, "counter": loss.counter, "kind": loss.kind,
        "visible": loss.visible, "lost": loss.per_s if loss.visible else None, "total": loss.total if loss.visible else None,
        "window": stages.window.name, "note": loss.note,
    }  # fmt: skip
    if loss.where.startswith("CPU "):
        values["core"] = loss.where[4:]
    if not loss.visible:
        words = (loss.where, loss.counter, loss.note) if wide else (loss.note,)
        return Row(row_key(loss), (name, UNSEEN, "-", "-", *words), DIM, values)
    counter = f"{loss.where} {loss.counter}" + (f": {loss.note}" if loss.note else "")
    words = (loss.where, loss.counter, loss.note) if wide else (counter,)
    tone = (BAD if loss.kind == LOSS else WARN) if loss.per_s else "" if loss.total else DIM
    return Row(row_key(loss), (name, loss.kind, short(loss.per_s), str(loss.total), *words), tone, values)


def unseen_words(stages: Stages, shown: Collection[Row]) -> str:
    """Which stages are not visible here and have no line of their own; empty where all have one."""
    there = {row.values["stage"] for row in shown}
    left = sorted(stage for stage in stages.blind if stage not in there)
    return f"not visible here: stages {ranges(left)}" if left else ""


# ---- boxes


@dataclass(frozen=True, slots=True)
class Box:
    """Some stages together. ``lost`` and ``boot`` are None where no counter is visible; ``sure``: the one that matters is."""

    title: str
    lost: float | None
    boot: int | None
    sure: bool
    pressed: bool  # nothing lost, but late or under pressure
    counter: str


def boxes(stages: Stages) -> list[Box]:
    """What each group of stages lost: losses alone are added, and of a feed what it misses, which was lost before."""
    found = []
    for title, numbers, main in GROUPS:
        mine = [loss for loss in stages.rows if loss.stage in numbers and loss.visible]
        lost = [loss for loss in mine if loss.kind == (DETAIL if main == _FEED else LOSS)]
        sure = any(loss.stage == main and loss.kind not in (AGGREGATE, WARNING, DELAY) for loss in mine)
        worst = max(lost, key=lambda loss: (loss.per_s, loss.total, loss.stage == main), default=None)
        pressed = any(loss.per_s for loss in mine if loss.kind in (WARNING, DELAY))
        found.append(
            Box(
                title,
                sum(loss.per_s for loss in lost) if lost else None,
                sum(loss.total for loss in lost) if lost else None,
                sure,
                pressed,
                worst.counter if worst is not None else "",
            )
        )
    return found


def box_lines(stages: Stages, nic: NicSample, width: int, selected: int | None) -> list[Line]:
    """The waterfall in one look: titles, what was lost in the window, what since boot; where there is room, which counter."""
    size = min(25, (width - 1) // len(GROUPS))
    arrow = "▶ " if glyphs() == BLOCKS else "> "
    titles, counts, boots, counters = ([seg(" ")] for _ in range(4))
    for place, box in enumerate(boxes(stages)):
        here = selected is not None and selected in GROUPS[place][1]
        titles += [seg(fit(box.title, size - 1), CURSOR if here else HEAD), seg(" ")]
        if not place:
            counts.append(seg(fit(f"{short(nic.rx_packets_per_s)}/s", size)))
            boots.append(seg(fit("boot", size), DIM))
            counters.append(seg(fit("counter", size), DIM))
            continue
        text, tone = _lost_text(box, stages.window.name == BOOT)
        counts += [seg(arrow, DIM), seg(fit(text, size - 2), tone)]
        total = "-" if box.boot is None else str(box.boot) if box.boot < 10 ** (size - 4) else short(box.boot)
        boots.append(seg(fit(f"  {total}", size), DIM if not box.boot else ""))
        counters.append(seg(fit(f"  {fit(box.counter, size - 3)}", size), DIM))
    lines = [titles, counts, boots, counters] if width >= _WIDE else [titles, counts, boots]
    return [cut(line, width) for line in lines]


def _lost_text(box: Box, since_boot: bool) -> tuple[str, str]:
    """The figure of a box; ``?`` behind it: the counter that matters most here is not visible."""
    if box.lost is None:
        return UNSEEN, DIM
    doubt = "" if box.sure else "?"
    if since_boot:
        return f"{short(box.boot or 0)}{doubt}", BAD if box.lost else "" if box.boot else DIM
    if box.lost > 0:
        return f"{short(box.lost)}{doubt} !", BAD
    return (f"0{doubt} ~", WARN) if box.pressed else (f"0{doubt}", DIM)


def selected_stage(row: Row | None) -> int | None:
    """The stage of a row."""
    stage = row.values.get("stage") if row is not None else None
    return stage if isinstance(stage, int) else None


def with_stage(found: Sequence[Row], key: str) -> str:
    """The key of the row that a loss's key means: itself, else one of its stage, for it may be folded into another."""
    keys = [row.key for row in found]
    if key in keys:
        return key
    stage = key.partition("/")[0] + "/"
    return next((each for each in keys if each.startswith(stage)), "")
