"""The desk: applications in, scores and decisions out. One noun, the same file name on every floor."""
