"""The rules of the fold, one file per subject; each checks a statement and changes the register, or refuses."""
