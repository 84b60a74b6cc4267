"""Changes the host: profile, plan, transaction, verify. Never imports ``ingest`` or ``ui``."""
