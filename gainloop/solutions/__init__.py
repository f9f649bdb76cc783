"""Problems, their solutions, and whether a solution is right."""
