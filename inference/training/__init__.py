"""The recipe that made the embedded checkpoint: corpus, tokenizer, gaps, training, evaluation, export."""
