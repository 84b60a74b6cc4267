"""Packet rings that are read where they lie, and the walkers that read them."""
