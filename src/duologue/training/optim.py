"""Optimisers: Muon for the matrices of the blocks, AdamW for all else. All are torch's own.

LoRA's factors are matrices of the blocks too, but go to AdamW: Muon makes an update equally long in all directions,
which suits a full matrix, and in a factor of few rows raises the noise to the signal's height. Known rates for LoRA are
AdamW's.

Source: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"; Loshchilov and Hutter 2019,
arXiv:1711.05101 (AdamW). Rates are matched so that both move a matrix by like amounts: Liu et al. 2025,
section 2.2, arXiv:2502.16982.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Muon, Optimizer

from duologue.errors import RunFolderError
from duologue.training.config import StageConfig
from duologue.transformer.lora import is_factor

Make = Callable[[Iterable[nn.Parameter]], Optimizer]


class Optimizers:
    """Muon and AdamW behind one step."""

    def __init__(
        self, parameters: Mapping[str, nn.Parameter], config: StageConfig, *, is_divided: bool = False
    ) -> None:
        """Splits the parameters: factors of LoRA, matrices inside blocks, an untied head, and all others.

        Args:
            is_divided: every process holds all parameters, works out the update of some, and hands it to the others.
        """
        factors = {name: weight for name, weight in parameters.items() if is_factor(name)}
        matrices = {name: weight for name, weight in parameters.items() if is_for_muon(name, weight)}
        head = {name: weight for name, weight in parameters.items() if name == "lm_head.weight"}
        others = {name: weight for name, weight in parameters.items() if name not in factors | matrices | head}
        rate, decay = config.learning_rate, config.weight_decay
        adamw = partial(AdamW, betas=(0.9, 0.95), fused=True)
        muon = partial(Muon, lr=rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw")
        kinds: tuple[tuple[Make, dict[str, nn.Parameter]], ...] = (
            (muon if config.matrix_optimizer == "muon" else partial(adamw, lr=rate, weight_decay=decay), matrices),
            (partial(adamw, lr=config.embedding_learning_rate, weight_decay=0.0), others),
            (partial(adamw, lr=config.head_learning_rate or config.embedding_learning_rate, weight_decay=0.0), head),
            (partial(adamw, lr=rate, weight_decay=decay), factors),
        )
        divide = _divided if is_divided else lambda make: make
        self._groups = [(divide(make)(list(group.values())), group) for make, group in kinds if group]
        self._peaks = [optimizer.param_groups[0]["lr"] for optimizer, _ in self._groups]

    def step(self, *, rate: float) -> None:
        """One update with ``rate`` (0 to 1) times the peak learning rates."""
        for (optimizer, _), peak in zip(self._groups, self._peaks, strict=True):
            optimizer.param_groups[0]["lr"] = peak * rate
            optimizer.step()

    def state_tensors(self) -> dict[str, Tensor]:
        """This process's state by parameter name, for a checkpoint: ``"model.norm.weight/exp_avg"``."""
        return {
            f"{name}/{key}": value
            for name, weight, states in self._own()
            for key, value in states[weight].items()
            if isinstance(value, Tensor)
        }

    def room_for(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
        """Makes room for a checkpoint's state, as far as it is this process's, and gives it to be filled.

        Args:
            shapes: of all state in the checkpoint, by the names of state_tensors.

        Raises:
            RunFolderError: it has state of a parameter that this model lacks.
        """
        own = {name: (weight, states) for name, weight, states in self._own()}
        known = {name for _, group in self._groups for name in group}
        room: dict[str, Tensor] = {}
        for path, shape in shapes.items():
            name, _, key = path.rpartition("/")
            if name not in known:
                raise RunFolderError(f"checkpoint: optimiser state for {name}, which this model does not have")
            if name in own:
                weight, states = own[name]
                is_like = tuple(shape) == tuple(weight.shape)
                room[path] = torch.zeros_like(weight) if is_like else torch.zeros(shape, device=weight.device)
                states[weight][key] = room[path]
        return room

    def _own(self) -> Iterator[tuple[str, nn.Parameter, Any]]:
        """The parameters whose updates this process works out, each with where its state is kept."""
        for optimizer, group in self._groups:
            worker: Any = getattr(optimizer, "optim", optimizer)  # of a divided one, this process's part
            mine = {id(weight) for part in worker.param_groups for weight in part["params"]}
            for name, weight in group.items():
                if id(weight) in mine:
                    yield name, weight, worker.state


def _divided(make: Any) -> Make:
    from torch.distributed.optim import ZeroRedundancyOptimizer

    return lambda weights: ZeroRedundancyOptimizer(list(weights), make.func, **make.keywords)


def is_for_muon(name: str, weight: Tensor) -> bool:
    """Whether a parameter is a matrix of a block, which Muon moves; all others are AdamW's."""
    return weight.ndim == 2 and ".layers." in name and not is_factor(name)
