"""What a build looks like to a member, to a steward, and to everybody; reads stores and builds, changes nothing."""
