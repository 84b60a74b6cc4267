"""The faults' port and this folder's own namespace, by their names."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
for place in (HERE, HERE.parents[1] / "faults"):
    if str(place) not in sys.path:
        sys.path.insert(0, str(place))
