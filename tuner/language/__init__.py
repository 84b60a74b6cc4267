"""The profile language: what kinds of values there are, which place of a profile takes which, and what it asks of a host."""
