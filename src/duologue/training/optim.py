"""Optimisers: Muon for the matrices of the blocks, AdamW for all else. Both are torch's own.

LoRA's factors are matrices of the blocks too, but go to AdamW: Muon makes an update equally long in all directions,
which suits a full matrix, and in a factor of few rows raises the noise to the signal's height. Known rates for LoRA are
AdamW's.

Source: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"; Loshchilov and Hutter 2019,
arXiv:1711.05101 (AdamW). Rates are matched so that both move a matrix by like amounts: Liu et al. 2025,
section 2.2, arXiv:2502.16982.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from torch import Tensor, nn
from torch.optim import AdamW, Muon

from duologue.errors import RunFolderError
from duologue.training.config import StageConfig
from duologue.transformer.lora import is_factor


class Optimizers:
    """Muon and AdamW behind one step."""

    def __init__(self, parameters: Mapping[str, nn.Parameter], config: StageConfig) -> None:
        """Splits the parameters: factors of LoRA, matrices inside blocks, and all others."""
        factors = {name: weight for name, weight in parameters.items() if is_factor(name)}
        matrices = {name: weight for name, weight in parameters.items() if is_for_muon(name, weight)}
        others = {name: weight for name, weight in parameters.items() if name not in factors | matrices}
        rate, decay = config.learning_rate, config.weight_decay
        adamw = partial(AdamW, betas=(0.9, 0.95), fused=True)
        kinds = (
            (partial(Muon, lr=rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw"), matrices),
            (partial(adamw, lr=config.embedding_learning_rate, weight_decay=0.0), others),
            (partial(adamw, lr=rate, weight_decay=decay), factors),
        )
        self._groups = [(make(group.values()), group) for make, group in kinds if group]
        self._peaks = [optimizer.param_groups[0]["lr"] for optimizer, _ in self._groups]

    def step(self, *, rate: float) -> None:
        """One update with ``rate`` (0 to 1) times the peak learning rates."""
        for (optimizer, _), peak in zip(self._groups, self._peaks, strict=True):
            optimizer.param_groups[0]["lr"] = peak * rate
            optimizer.step()

    def state_tensors(self) -> dict[str, Tensor]:
        """All state by parameter name, for a checkpoint: ``"model.norm.weight/exp_avg"``."""
        return {
            f"{name}/{key}": value
            for optimizer, parameters in self._groups
            for name, weight in parameters.items()
            for key, value in optimizer.state[weight].items()
            if isinstance(value, Tensor)
        }

    def load_state_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes the state back that state_tensors gave."""
        by_name = {name: (optimizer, weight) for optimizer, group in self._groups for name, weight in group.items()}
        for path, tensor in tensors.items():
            name, _, key = path.rpartition("/")
            if name not in by_name:
                raise RunFolderError(f"checkpoint: optimiser state for {name}, which this model does not have")
            optimizer, weight = by_name[name]
            optimizer.state[weight][key] = tensor.to(weight.device, copy=True)  # not the file's pages


def is_for_muon(name: str, weight: Tensor) -> bool:
    """Whether a parameter is a matrix of a block, which Muon moves; all others are AdamW's."""
    return weight.ndim == 2 and ".layers." in name and not is_factor(name)
