"""What the model reads around a gap, and what of it stays as it is while the user types. Pure but for ``contexts``."""
