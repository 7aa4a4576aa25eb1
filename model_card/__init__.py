"""Render the card from the records, put the release bundle together, and verify it for anyone."""
