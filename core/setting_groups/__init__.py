"""The settings by subject; `core.settings.Settings` has them all."""
