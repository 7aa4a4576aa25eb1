"""Runs at sites: profiles, batch scripts, job folders and preflight for engineers, enforcement and accounting for the admins of a SLURM cluster."""
