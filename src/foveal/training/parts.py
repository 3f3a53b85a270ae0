"""The parts that a training is put together from, from every floor: for `--show-loop`, and for a loop of one's own."""

from foveal.data.on_device import DeviceBatches
from foveal.data.sources import open_dataset
from foveal.data.store import open_store
from foveal.networks.catalogue import build, find
from foveal.networks.head import put_head
from foveal.ops.draws import evenly, step_seed
from foveal.preprocess import Preprocess
from foveal.recipe import Recipe
from foveal.tasks.heads import head_of
from foveal.tasks.heads.head import Architecture
from foveal.training.arithmetic import FORMATS, Arithmetic
from foveal.training.calibrate import calibrated
from foveal.training.features import Trunk
from foveal.training.fitted_head import balancing, fitted_head
from foveal.training.initial_weights import initial_weights
from foveal.training.loop import check_finite, stalled
from foveal.training.measuring import given
from foveal.training.optimisers import Muon, decayed_groups, muon_groups, set_rate, slow_down
from foveal.training.schedules import rate_factor
from foveal.training.setup import Setup
from foveal.training.started import norms_in
from foveal.training.train_state import Averaged, Origin, TrainState
from foveal.training.unfreezing import freeze, rates

__all__ = [
    "FORMATS", "Architecture", "Arithmetic", "Averaged", "DeviceBatches", "Muon", "Origin", "Preprocess",
    "Recipe", "Setup", "TrainState", "Trunk", "balancing", "build", "calibrated", "check_finite", "decayed_groups",
    "evenly", "find", "fitted_head", "freeze", "given", "head_of", "initial_weights", "muon_groups", "norms_in",
    "open_dataset", "open_store", "put_head", "rate_factor", "rates", "set_rate", "slow_down", "stalled", "step_seed",
]  # fmt: skip
