"""One file per kernel source of counters: a pure ``parse(bytes)`` and a reader that keeps its descriptor open."""
