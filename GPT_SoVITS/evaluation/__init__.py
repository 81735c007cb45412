"""Evaluate speech offline: what a recognizer hears, who seems to speak, how clean it sounds, how fast it was made.

evaluator.py         one recording
sentences.py         what a voice is asked to say
voice_evaluation.py  a voice's checkpoints, made to speak and evaluated
best_checkpoint.py   which checkpoint of a training is the best
program.py           the child process that does it: `python -m GPT_SoVITS.evaluation.program REQUEST.json`
"""
