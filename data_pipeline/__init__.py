"""From contributions to a consented, cleaned, content-addressed build that anyone can re-check."""
