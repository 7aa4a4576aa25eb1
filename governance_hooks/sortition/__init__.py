"""Citizens' panels drawn by lot: the pool from the log, the seed from a later checkpoint, the draw by an external program, again by anybody."""
