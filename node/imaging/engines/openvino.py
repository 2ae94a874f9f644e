"""OpenVINO's CPU runtime, fed by its PyTorch frontend alone: the converter that reports its use is never imported."""

from __future__ import annotations

import importlib.util
import warnings
from typing import Any

import numpy as np
import torch

from node.imaging.bundle.plan import Plan
from node.imaging.engines.layers import example_of, module_of
from node.imaging.engines.windows import Forward


def missing(device: torch.device) -> str:
    """Say why it cannot be used here; empty if it can."""
    if device.type != "cpu":
        return "it is for CPUs"
    found = importlib.util.find_spec("openvino") is not None
    return "" if found else "OpenVINO is not installed (the extra cpu-fast)"


def compiled(network: torch.nn.Module, plan: Plan, precision: str) -> Forward:
    """Return `network` compiled for one window at a time; `precision` is "f32" or "bf16".

    Raises:
        RuntimeError, TypeError, ValueError: OpenVINO cannot read this network.
    """
    import openvino
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    example = example_of(network, plan.window, 1)
    module = module_of(network, torch.device("cpu"), torch.float32, fold=False)
    with torch.inference_mode(mode=False), torch.no_grad(), warnings.catch_warnings():
        # It traces; what PyTorch has to say of tracing is no news.
        warnings.simplefilter("ignore")
        decoder = TorchScriptPythonDecoder(module, example_input=example, skip_freeze=False)
        frontend = FrontEndManager().load_by_framework("pytorch")
        model = frontend.convert(frontend.load(decoder))
    model.reshape(openvino.PartialShape(list(example.shape)))
    settings = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "NUM_STREAMS": 1,
    }
    request: Any = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()

    def forward(windows: torch.Tensor) -> torch.Tensor:
        answers = []
        for window in windows:
            given = np.ascontiguousarray(window[None].numpy(), dtype=np.float32)
            request.infer([openvino.Tensor(given, shared_memory=True)], share_inputs=True)
            answers.append(torch.from_numpy(request.get_output_tensor(0).data.copy()))
        return torch.cat(answers)

    return forward
