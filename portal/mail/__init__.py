"""Mail: what the portal writes to members, when, and how it goes out."""
