"""Who may decide what: log, keys, members, consent, bylaws, votes, proof, gate and hooks."""
