"""Plain batch scripts for SLURM; enforcement at a site and submission are not built yet."""
