"""Numbered packets at a paced rate through interfaces of our own, and whether a ring on them lost any."""
