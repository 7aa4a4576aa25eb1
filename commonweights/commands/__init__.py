"""The verbs of `coop`, one file each or a few that belong together; imported only when used."""
