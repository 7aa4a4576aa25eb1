"""Plain sbatch files, enforcement at a site, and submission; nothing is built here yet."""
