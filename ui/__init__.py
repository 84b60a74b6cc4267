"""The faces: ``ui.cli`` (headless, never imports Textual) and ``ui.app`` (Textual)."""
