"""Watches the host: rings and counters become samples. Imports ``tuner.host`` and nothing else of the project."""
