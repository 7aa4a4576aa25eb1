"""Readers of foreign formats: each turns files into drafts, and refuses what it cannot read."""
