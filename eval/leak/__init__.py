"""Measure what weights give away: on canaries for everybody to see, on a member's own records for that member alone."""
