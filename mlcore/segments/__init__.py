"""Customer segments: as many groups as the data support, and none where they support none. The outcome is never an input."""
