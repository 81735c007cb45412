"""A fixture of stage 1, whose weights are under `w/`."""

from __future__ import annotations

from parity_fixtures import Fixture

from GPT_SoVITS.gpt.model import Text2Semantic


class Stage1(Fixture):
    def cases(self) -> list[str]:
        return sorted({name.split("/")[1] for name in self.arrays if name.endswith("/kwargs")})

    def model(self) -> Text2Semantic:
        model = Text2Semantic(self.config, layer_dropout=0.0)
        model.load_state_dict(self.state("w/"), strict=True)
        return model.eval()
