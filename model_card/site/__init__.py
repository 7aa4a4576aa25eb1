"""The download site of a cooperative: plain files any web host serves, and signed metadata that says what is newest."""
