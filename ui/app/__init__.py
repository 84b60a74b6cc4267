"""The Textual app: views of the sample stream and of the engine's plans; it never writes to the host itself."""
