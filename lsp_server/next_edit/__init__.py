"""After an edit: where else in the file the same change plainly applies. Pure; no model is asked."""
