"""A profile for the host at hand, written from what the host has, and kept only as far as it plans cleanly here."""
