"""One of two processes that add up gradients; in the second update, the other one lacks one in the middle."""

from __future__ import annotations

import torch

from GPT_SoVITS.training import gradient_reducer
from GPT_SoVITS.training.distributed import destroy_process_group, init_process_group
from GPT_SoVITS.training.gradient_reducer import GradientReducer
from GPT_SoVITS.training.program import emit

gradient_reducer.BUCKET_NUMEL = 1  # each parameter is sent by itself
group = init_process_group("cpu")
parameters = [torch.nn.Parameter(torch.zeros(3)) for _ in range(3)]
reducer = GradientReducer(group, parameters)
for missing in (None, 1):
    for parameter in parameters:
        parameter.grad = None
    used = [number for number in range(3) if group.main or number != missing]
    with reducer.overlapping():
        sum((10.0**number * parameters[number].sum() for number in used), start=torch.zeros(())).backward()
    reducer.reduce(mean=False)
    if group.main:
        emit("sums", sums=[None if p.grad is None else p.grad.tolist() for p in parameters])
destroy_process_group()
