"""What may never be read: secrets, what ignore files name, what lies outside, and what is no file."""
