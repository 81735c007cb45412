"""Voices: what they may consist of (`checks`), their ZIP (`archive`, `export`), imports and the bundled prompts."""
