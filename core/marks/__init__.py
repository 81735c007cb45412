"""How synthetic speech is marked, and how marks are found again."""
