"""One file per family of knobs; a knob knows how to read, compare, write and restore one setting of the host."""
