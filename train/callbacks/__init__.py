"""What happens at the boundary of optimizer steps: one callback per file."""
