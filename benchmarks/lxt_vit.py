"""AttnLRP of LXT's efficient implementation on the ViT that `transformer_cost.base` writes, with the same weights."""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
from onnx import numpy_helper


def attnlrp(path: Path, heads: int = 12) -> Callable[[Any, int], tuple[Any, Any]]:
    """Return a function of pictures [N, 3, H, W] and a class: its relevance, x ⊙ ∂/∂x by LXT's rules, and the logits.

    Args:
        path: The file that `transformer_cost.base` wrote.
        heads: Its heads of attention.
    """
    import lxt
    import torch
    from torch.nn import functional

    # The package lxt.efficient imports transformers for the networks that it patches; its functions need none.
    sys.modules["lxt.efficient"] = package = types.ModuleType("lxt.efficient")
    package.__path__ = [str(Path(lxt.__file__).parent / "efficient")]
    patches: Any = importlib.import_module("lxt.efficient.patches")
    rules: Any = importlib.import_module("lxt.efficient.rules")
    held = onnx.load(path).graph.initializer
    w = {tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy()) for tensor in held}
    depth = sum(name.endswith(".qkv.w") for name in w)

    def norm(t: Any, name: str) -> Any:
        layer = types.SimpleNamespace(eps=1e-5, weight=w[f"{name}.s"], bias=w[f"{name}.b"])
        return patches.layer_norm_forward(layer, t)

    def dense(t: Any, name: str) -> Any:
        return t @ w[f"{name}.w"] + w[f"{name}.b"]

    def products(module: Any, q: Any, k: Any, v: Any) -> Any:
        return functional.scaled_dot_product_attention(q, k, v)

    attend = patches.wrap_attention_forward(products)

    def logits(x: Any) -> Any:
        t = functional.conv2d(x, w["patch"], stride=16).flatten(2).transpose(1, 2)
        t = torch.cat([w["token"].expand(len(x), -1, -1), t], 1) + w["places"]
        for n in range(depth):
            y = dense(norm(t, f"{n}.norm1"), f"{n}.qkv")
            q, k, v = y.reshape(*t.shape[:2], 3, heads, -1).permute(2, 0, 3, 1, 4)
            t = t + dense(attend(None, q, k, v).transpose(1, 2).reshape(t.shape), f"{n}.proj")
            y = rules.identity_rule_implicit(functional.gelu, dense(norm(t, f"{n}.norm2"), f"{n}.up"))
            t = t + dense(y, f"{n}.down")
        return norm(t, "norm")[:, 0] @ w["head"]

    def explain(x: Any, target: int) -> tuple[Any, Any]:
        pixels = torch.from_numpy(x).requires_grad_()
        scores = logits(pixels)
        scores[:, target].sum().backward()
        return (pixels.detach() * pixels.grad).numpy(), scores.detach().numpy()

    return explain
