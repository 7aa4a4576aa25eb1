"""How a run is spread over processes: one file per strategy."""
