"""A training set of the GPT, by generator."""

from __future__ import annotations

import random
from pathlib import Path

from GPT_SoVITS.text.symbols import symbols


def write_gpt_training_set(folder: Path, version: str) -> None:
    """Write phonemes and tokens of twelve usable recordings of 1 to 2 s."""
    generator, table = random.Random(5), symbols(version)
    texts, tokens = [], ["item_name\tsemantic_audio"]
    for i in range(12):
        length = 25 + 2 * i
        texts.append(f"{i:02d}.wav\t{' '.join(generator.choices(table, k=length // 3))}\tNone\ttext {i}")
        tokens.append(f"{i:02d}.wav\t{' '.join(str(generator.randrange(64)) for _ in range(length))}")
    (folder / "2-name2text.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    (folder / "6-name2semantic.tsv").write_text("\n".join(tokens) + "\n", encoding="utf-8")
