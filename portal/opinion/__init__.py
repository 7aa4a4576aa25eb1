"""The opinion map of a consultation of statements: groups of members who answer alike, what they say, what unites and divides them."""
