"""What the examples use offline in place of packages and checkpoints that are not at hand."""
