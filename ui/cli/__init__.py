"""The headless commands: each file is one command or one shape of output."""
