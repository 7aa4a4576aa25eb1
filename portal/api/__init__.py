"""The portal for programs: what everybody may see, as JSON, and the intake of signed statements."""
