"""Formats: how segments become a prompt and canvas rows for one family of checkpoints, and back."""
