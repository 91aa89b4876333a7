"""Text found in the document and around it that may stand in the gap, with the odds that it is exactly right."""
