"""Measure what a run did to the weights, language by language, on answers it never saw."""
