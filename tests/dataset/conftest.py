"""Fixtures of the bundled speech."""

from bundled_speech import models as models
from bundled_speech import voice as voice
from bundled_speech import voice_file as voice_file
