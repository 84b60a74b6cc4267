"""From what is red to the plan that ends it: settings of the profile language, and the line of the plan to select."""

from dataclasses import dataclass

from ingest.sample import Sample
from ui.app.model import Pointed


@dataclass(frozen=True, slots=True)
class Remedy:
    """``sets`` are ``--set`` arguments over ``profile`` (empty: the active one, else ``observe``).

    ``knob`` and ``target`` name the line of the plan.
    """

    title: str  # short, for a column: "move to 0-7"
    sets: tuple[str, ...]
    knob: str
    target: str
    profile: str = ""
    because: str = ""


def remedy(sample: Sample, pointed: Pointed) -> Remedy | None:
    """What would end it; None where nothing is wrong or nothing that a profile sets would help."""
    del sample, pointed
    return None
