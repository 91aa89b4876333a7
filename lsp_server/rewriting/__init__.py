"""Text that takes the place of other text: filled holes, rewritten selections. Nothing here applies an edit."""
