"""Puts this folder where the tests below it find `parity_fixtures`."""
