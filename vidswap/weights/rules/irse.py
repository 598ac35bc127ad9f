"""IR-SE50 ArcFace: the plain state dict of ``model_ir_se50.pth``."""

import re

from vidswap.weights.convert import Rule


def trunk(prefix: str = "", ours: str = "") -> tuple[Rule, ...]:
    """Rules for the trunk, below an official and one of our prefixes."""
    p = re.escape(prefix)
    block, name = rf"{p}body\.(\d+)\.", rf"{ours}blocks.\1."
    return (
        Rule(rf"{p}input_layer\.(\d)\.(\w+)", rf"{ours}stem.\1.\2"),
        Rule(block + r"res_layer\.0\.(\w+)", name + r"norm1.\2"),
        Rule(block + r"res_layer\.1\.weight", name + "conv1.weight"),
        Rule(block + r"res_layer\.2\.weight", name + "act.weight"),
        Rule(block + r"res_layer\.3\.weight", name + "conv2.weight"),
        Rule(block + r"res_layer\.4\.(\w+)", name + r"norm2.\2"),
        Rule(block + r"res_layer\.5\.fc1\.weight", name + "attention.reduce.weight"),
        Rule(block + r"res_layer\.5\.fc2\.weight", name + "attention.expand.weight"),
        Rule(block + r"shortcut_layer\.(\d)\.(\w+)", name + r"shortcut.\2.\3"),
    )


RULES = (
    *trunk(ours="trunk."),
    Rule(r"output_layer\.0\.(\w+)", r"norm.\1"),
    Rule(r"output_layer\.3\.(\w+)", r"linear.\1"),
    Rule(r"output_layer\.4\.(\w+)", r"embedding_norm.\1"),
)
