"""Speech judged by machine: what a recogniser hears, who seems to speak, how clean it sounds, how fast it was made.

words.py      errors of a transcript: their rate, and which words were skipped or said twice
judge.py      one recording, judged
sentences.py  what a voice is asked to say
voice.py      a voice's weights, made to speak and judged
choose.py     which checkpoint of a training is the best
program.py    the child process that does it: `python -m GPT_SoVITS.evaluation.program REQUEST.json`
"""
