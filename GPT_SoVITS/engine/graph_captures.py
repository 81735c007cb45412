"""When the engine captures CUDA graphs: those of a GPT as a voice is loaded, those of chunks when nobody waits.

So a first chunk waits for no capture, and one that is seldom needed is never captured.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from GPT_SoVITS.gpt.graphs.registry import graph_preparations, release_graph_decoders
from GPT_SoVITS.pipeline import Pipeline
from GPT_SoVITS.sovits.graphs.registry import next_capture, release_networks

IDLE_SECONDS: Final = 0.2
"""After so long without work, the device captures what was used."""
MANY_USES: Final = 8
"""So often has a bucket run without a graph when it is captured between two pieces of work, for which nobody's first
audio is waited for."""
TOO_MANY_USES: Final = 64
"""The same while somebody's is: on a device that is never idle."""


class GraphCaptures:
    """What is captured next. Everything is called, and run, on the engine's thread."""

    def __init__(self, *, enabled: bool) -> None:
        self._enabled = enabled

    def preparations(self, pipeline: Pipeline) -> list[Callable[[], None]]:
        """Let a voice use graphs, and return what captures those that its GPT needs."""
        if not self._enabled or pipeline.device.type != "cuda":
            return []
        pipeline.decoder.use_graphs()
        return graph_preparations(pipeline.gpt, pipeline.precision)

    def idle_capture(self) -> Callable[[], None] | None:
        """Return what captures a bucket that has run without a graph; None where there is none."""
        return next_capture(1)

    def due_capture(self, *, waiting: bool) -> Callable[[], None] | None:
        """Return what captures a bucket that has run often without a graph; `waiting`: for some first audio."""
        return next_capture(TOO_MANY_USES if waiting else MANY_USES)

    def release(self) -> None:
        """Forget all graphs that can go, with their memory."""
        release_graph_decoders()
        release_networks()
