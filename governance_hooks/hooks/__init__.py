"""Hooks that put the gate inside training loops: a guard without a framework, and one adapter per framework."""
