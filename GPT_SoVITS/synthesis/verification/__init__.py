"""Whether an utterance says its text: faults, found in its tokens and in its samples without a network of its own.

faults.py     what can be wrong, and the verdict
confusions.py as which phonemes clean speech is heard
attention.py  what the text encoder's attention says where there is no classifier
alignment.py  the likeliest path of tokens through the phonemes, grown token by token
coverage.py   phonemes that were skipped, speech that is not in the text, sounds and pauses that do not end
patterns.py   token loops, lengths that no speech has
samples.py    silence, clipping, an end that is cut off
speaker.py    whose voice is heard
words.py      what a recognizer heard instead
verifier.py   all that concerns tokens, at fixed points while they are generated
"""
