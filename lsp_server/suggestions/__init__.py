"""What is shown at the cursor, and what is not."""
