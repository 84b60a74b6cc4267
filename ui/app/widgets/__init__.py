"""Line widgets: they draw strips themselves and redraw the rows that changed."""
