"""All lints on one host, the worst finding first."""

from collections.abc import Callable, Iterable, Iterator

from tuner.doctor import interrupts, kernel, network, programs, settings
from tuner.doctor.finding import SEVERITIES, Finding
from tuner.doctor.view import View

Lint = Callable[[View], Iterator[Finding]]
LINTS: tuple[Lint, ...] = (*programs.LINTS, *settings.LINTS, *interrupts.LINTS, *network.LINTS, *kernel.LINTS)


def examine(view: View, lints: Iterable[Lint] = LINTS) -> tuple[Finding, ...]:
    """What they find. What a lint cannot read it passes over; it is in ``view.unseen`` where a file refused."""
    found = []
    for lint in lints:
        try:
            found += list(lint(view))
        except OSError as error:
            view.unseen.append(f"{lint.__name__.replace('_', ' ')}: {error.strerror or error}")
    return tuple(sorted(found, key=lambda finding: (SEVERITIES.index(finding.severity), finding.lint, finding.subject)))
