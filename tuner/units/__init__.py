"""Units of systemd, as data: installed by ``make install-units``, or handed to ``systemd-run`` for one transaction."""
