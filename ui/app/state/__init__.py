"""What the app knows: the sample on screen, what led to it, what is wrong with it. No widget; nothing is asked of the host."""
