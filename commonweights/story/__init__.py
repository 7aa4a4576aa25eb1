"""The demo: the whole story of a cooperative, played with real keys, data, weights, votes and attacks."""
