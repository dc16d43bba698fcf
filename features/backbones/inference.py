"""A kept network at work: clips in, logits out, as many at once as the process may, each on one thread.

The sums of a layer come out otherwise when threads share them, so no clip is ever given more than one; more cores
compute more clips. A clip's logits are then the same bits alone or in company, on one core or on sixty-four.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import local
from typing import Any

import numpy as np

from gliolake.errors import InputError
from gliolake.features.backbones.openvino_model import MODEL, openvino
from gliolake.features.networks.frames import Frames
from gliolake.schema.vocabulary import FEATURE_LENGTH

HINTS = {"fp32": "f32", "bf16": "bf16"}
"""OpenVINO's names of ``gliolake.features.networks.registry.PRECISIONS``."""


def has_bf16() -> bool:
    """Whether this processor has arithmetic of bf16: AMX or AVX-512 BF16."""
    return "BF16" in openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class CompiledNetwork:
    """A network made ready for this processor.

    Args:
        place: The folder that ``gliolake.features.backbones.openvino_cache.kept_network`` gave.
        precision: ``fp32`` or ``bf16``: the type that layers compute in. Input and logits are float32.
        streams: Clips computed at once.

    Raises:
        InputError: the processor has no arithmetic of this precision.
    """

    def __init__(self, place: Path, precision: str, streams: int) -> None:
        if precision == "bf16" and not has_bf16():
            raise InputError(
                "This processor has no bf16 arithmetic (AMX or AVX-512 BF16).", hint="Use --precision fp32."
            )
        settings = {
            "INFERENCE_PRECISION_HINT": HINTS[precision],
            "INFERENCE_NUM_THREADS": streams,
            "NUM_STREAMS": streams,
            "ENABLE_CPU_PINNING": False,  # several worker processes would pin themselves to the same cores
        }
        self.compiled: Any = openvino().Core().compile_model(place / MODEL, "CPU", settings)
        self.streams = streams
        self._of_thread = local()
        self._threads = ThreadPoolExecutor(streams, thread_name_prefix="clip")

    def logits(self, writers: Sequence[Callable[[Frames], object]]) -> Frames:
        """The logits (n, 400) float32 of n clips.

        Args:
            writers: One for each clip; it fills the network's input (3, frame, row, column) float32.
        """
        logits = np.empty((len(writers), FEATURE_LENGTH), np.float32)
        for row, answer in zip(logits, self._threads.map(self._infer, writers), strict=True):
            row[:] = answer
        return logits

    def _infer(self, write: Callable[[Frames], object]) -> Frames:
        request = getattr(self._of_thread, "request", None)
        if request is None:
            request = self._of_thread.request = self.compiled.create_infer_request()
        write(request.get_input_tensor().data[0])
        request.infer()
        answer: Frames = request.get_output_tensor().data[0].copy()
        return answer
