"""The shipped profiles, as TOML. No code lives here."""
