"""Feeds: how venues number their datagrams, which channels a site has, what a gap on one line or on both means."""
