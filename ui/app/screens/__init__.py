"""The seven screens, in the order of their keys."""

from typing import TYPE_CHECKING

from ui.app.screens.core import CorePane
from ui.app.screens.events import EventsPane
from ui.app.screens.ingest import IngestPane
from ui.app.screens.irqs import IrqsPane
from ui.app.screens.nic import NicPane
from ui.app.screens.overview import Overview
from ui.app.screens.pane import Pane
from ui.app.screens.profiles import ProfilesPane
from ui.keys import Screen

if TYPE_CHECKING:
    from ui.app.app import QuietcoreApp


def make_panes(app: "QuietcoreApp") -> dict[Screen, Pane]:
    """All screens of an app. What a screen needs beside the model is given to it here."""
    model = app.model
    panes: tuple[Pane, ...] = (
        Overview(model),
        CorePane(model),
        IrqsPane(model),
        NicPane(model),
        IngestPane(model, app.ring_view, app.ring_control, app.go),
        ProfilesPane(model, app.profiles_view, app.transactions, app.spawn),
        EventsPane(model, app.evidence, app.go),
    )
    return {pane.name: pane for pane in panes}
