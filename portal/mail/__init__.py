"""The portal's mail: what a letter says, who is reminded, and the way out through any SMTP server."""
