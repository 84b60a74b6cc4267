"""What is wrong with a host, before anything is changed: who else writes its knobs, and what its settings contradict."""
