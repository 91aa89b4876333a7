"""Between the keys: what is answered without the model, when it is asked, and what it is asked while nobody types."""
