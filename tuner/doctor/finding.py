"""A finding: what is wrong, where that was read, why it matters, and the line of a profile that ends it."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["high", "medium", "low"]
SEVERITIES: tuple[Severity, ...] = ("high", "medium", "low")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        lint: the rule's name, as ``irq-on-isolated``.
        severity: ``high``: packets or microseconds are lost by it now; ``medium``: they will be, or a profile will not hold;
            ``low``: worth to know.
        subject: what it is about: an interface, a program, CPUs.
        what: one sentence, with the figures.
        evidence: where each was read: paths and what stood there.
        why: one sentence: what it costs.
        remedy: a line of a profile, or a command where no knob does it.
    """

    lint: str
    severity: Severity
    subject: str
    what: str
    evidence: tuple[str, ...]
    why: str
    remedy: str
