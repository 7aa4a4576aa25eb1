"""What the operator tells a cluster, and what the cluster permits: signed documents in the form of log entries, of types the log refuses."""
