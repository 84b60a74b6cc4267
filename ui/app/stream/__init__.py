"""Where samples come from, where in time the view stands among them, and what is kept of them as evidence."""
