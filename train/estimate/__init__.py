"""What a plan costs before it runs: its size, memory, arithmetic, time and energy, without torch."""
