"""How this folder was made, with PEFT 0.21.2: `pip install peft`, then `python -m tests.data.peft_adapter.make`.

PEFT itself wraps a tiny model's encoder and decoder, linear layers and experts, and says what each wrapper adds to its
weight; the test compares that with what `inference.adapters` adds, and needs no PEFT for it.
"""

from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora.layer import LoraLayer
from safetensors.torch import save_file
from transformers.models.diffusion_gemma.modeling_diffusion_gemma import DiffusionGemmaForBlockDiffusion

from tests.support.tiny_checkpoint import tiny_config

FOLDER = Path(__file__).parent
CONFIG = LoraConfig(
    r=2,
    lora_alpha=3,
    use_rslora=True,
    target_modules=r"model\.(encoder\.language_model|decoder)\.layers\.[01]\.(self_attn\.[qo]_proj|mlp\.up_proj)",
    target_parameters=["0.experts.gate_up_proj", "0.experts.down_proj"],
    rank_pattern={"up_proj": 1, r"layers\.0\.experts\.down_proj": 3},
    alpha_pattern={"1.self_attn.q_proj": 5},
)


def main() -> None:
    torch.manual_seed(0)
    model = get_peft_model(DiffusionGemmaForBlockDiffusion(tiny_config(64, moe_intermediate_size=24)), CONFIG)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.normal_()
    model.save_pretrained(FOLDER)
    (FOLDER / "README.md").unlink()
    deltas = {}
    for name, module in model.named_modules():
        if isinstance(module, LoraLayer):
            path = name.removeprefix("base_model.model.").replace(".base_layer", "")
            weight = getattr(module, "parameter_name", "weight")
            deltas[f"{path}.{weight}"] = module.get_delta_weight("default").detach().half().contiguous()
    save_file(deltas, FOLDER / "deltas.safetensors")


if __name__ == "__main__":
    main()
