"""Applications of others, unchanged, each in an environment of its own: scripts/prove-apps makes these."""
