"""Taps: the right values, for the call and the thread that asked, and nothing left behind."""

from __future__ import annotations

import copy
import pickle
import re
import sys
import threading
import time
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import foveal
from foveal.errors import Missing
from foveal.networks.catalogue import build
from foveal.networks.head import classifier_path, taking_features
from foveal.networks.layers import layers
from foveal.networks.stages import Stages, stage_modules
from foveal.networks.taps import take, taking, watching

PASSES = 200  # of each thread
TABLES = ("_forward_hooks", "_forward_hooks_with_kwargs", "_forward_pre_hooks", "_forward_pre_hooks_with_kwargs")


class Net(nn.Module):
    """Two layers of maps and a classifier; it counts how often its last layer was reached."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3))
        self.fc = nn.Linear(5, 2)
        self.unused = nn.Identity()
        self.reached = 0

    def forward(self, images: Tensor) -> Tensor:
        features = self.maps(images).mean((2, 3))
        self.reached += 1
        return self.fc(input=features)


@pytest.fixture
def network() -> Net:
    torch.manual_seed(0)
    return Net()


@pytest.fixture
def images() -> Tensor:
    return torch.randn(2, 3, 8, 9, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def hasty():
    """Threads take turns every ten microseconds."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(usual)


def tables(network: nn.Module) -> list[dict]:
    return [vars(module)[name] for module in network.modules() for name in TABLES]


def is_as_before(network: nn.Module) -> bool:
    return all(type(table) is OrderedDict and not table for table in tables(network))


def in_threads(*works) -> list:
    """What each function gives, all run at one time; an exception in a thread is raised here."""
    start, found = threading.Barrier(len(works)), [None] * len(works)

    def run(i: int) -> None:
        start.wait()
        try:
            found[i] = works[i]()
        except Exception as error:
            found[i] = error

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for value in found:
        if isinstance(value, Exception):
            raise value
    return found


# --------------------------------------------------------------------------------------------------- what is taken


def test_outputs_and_inputs_are_those_of_the_plain_layers(network, images):
    values = take(network, images, outputs=["maps.0", "maps"], inputs=["maps.2", "fc"])
    first = network.maps[0](images)
    assert torch.equal(values.outputs["maps.0"], first)
    assert torch.equal(values.inputs["maps.2"], first.relu())
    assert torch.equal(values.outputs["maps"], network.maps(images))
    assert torch.equal(values.inputs["fc"], network.maps(images).mean((2, 3)))


def test_stages_are_taken_by_their_paths():
    network, images = build("resnet18", 3, 3, (64, 96)).eval(), torch.randn(1, 3, 64, 96)
    paths, _ = stage_modules("resnet18", (8, 16))
    outputs = take(network, images, outputs=paths).outputs
    maps = Stages(network, "resnet18", (8, 16))(images)
    assert all(torch.equal(outputs[path], found) for path, found in zip(paths, maps, strict=True))


def test_nothing_behind_the_last_value_is_computed_in_whatever_order_they_are_asked_for(network, images):
    take(network, images, outputs=["maps.2", "maps.0"])
    assert network.reached == 0
    ran = []
    network.fc.register_forward_pre_hook(lambda *_: ran.append(1), prepend=True)
    network.fc.forward = lambda **_: ran.append(2)
    take(network, images, inputs=["fc"])
    assert network.reached == 1
    assert ran == [1]  # the user's own hook in front of it


def test_values_stay_in_their_graph_or_leave_it_as_asked(network, images):
    values = take(network, images, outputs=["maps"])
    values.outputs["maps"].sum().backward()
    assert network.maps[0].weight.grad is not None
    assert network.fc.weight.grad is None
    assert not take(network, images, outputs=["maps"], keep=Tensor.detach).outputs["maps"].requires_grad


def test_each_pass_inside_leaves_its_values(network, images):
    with taking(network, inputs=["fc"], outputs=["", "maps"], keep=Tensor.detach) as values:
        assert not values.inputs
        for pictures in (images, -images):
            logits = network(pictures)
            assert torch.equal(values.outputs[""], logits)
            assert torch.equal(values.inputs["fc"], network.maps(pictures).mean((2, 3)))


def test_functions_are_called_around_every_module(network, images):
    seen = []
    with watching(
        network,
        lambda path, module, args, kwargs: seen.append(("before", path, len(args), list(kwargs))),
        lambda path, module, args, kwargs, output: seen.append(("after", path, len(args), tuple(output.shape))),
    ):
        network(images)
    assert seen[:3] == [("before", "", 1, []), ("before", "maps", 1, []), ("before", "maps.0", 1, [])]
    assert seen[-3:] == [("before", "fc", 0, ["input"]), ("after", "fc", 0, (2, 2)), ("after", "", 1, (2, 2))]


def test_a_path_that_is_not_there_is_told(network, images):
    with pytest.raises(Missing, match=re.escape('no layer map.0; did you mean "maps.0"?') + "$"):
        take(network, images, outputs=["map.0"])
    with pytest.raises(Missing, match="layer unused takes no part"):
        take(network, images, outputs=["maps", "unused"])
    assert is_as_before(network)


def test_a_network_within_a_network_ends_no_pass_but_its_own(network, images):
    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk, self.head = network, nn.Flatten()

        def forward(self, x: Tensor) -> Tensor:
            return self.head(take(self.trunk, x, outputs=["maps"]).outputs["maps"])

    outer = Outer()
    maps = network.maps(images)
    assert torch.equal(take(outer, images, outputs=["head"]).outputs["head"], maps.flatten(1))
    assert list(take(outer, images, outputs=["trunk.maps.0"]).outputs) == ["trunk.maps.0"]
    both = take(outer, images, outputs=["trunk.maps", "head"]).outputs
    assert torch.equal(both["trunk.maps"], maps)
    assert is_as_before(outer)


# ------------------------------------------------------------------------------------------- what is left behind


def test_the_very_tables_of_the_network_lie_there_afterwards(network, images):
    before = tables(network)
    take(network, images, outputs=["maps.0", "maps"], inputs=["maps"])
    with taking(network, outputs=["fc"]), watching(network, lambda *_: None, lambda *_: None):
        network(images)
    assert all(now is then for now, then in zip(tables(network), before, strict=True))
    assert is_as_before(network)


def test_an_exception_in_the_network_goes_through_and_leaves_nothing(network):
    with pytest.raises(RuntimeError, match="channels"):
        take(network, torch.zeros(1, 2, 8, 8), outputs=["maps.0", "maps"])
    with pytest.raises(RuntimeError, match="channels"), taking(network, outputs=["maps"]):
        network(torch.zeros(1, 2, 8, 8))
    assert is_as_before(network)


def test_copies_made_meanwhile_have_no_taps(network, images):
    network.maps.register_forward_hook(doubled)
    with taking(network, outputs=["", "maps"]) as values:
        copies = [copy.deepcopy(network), pickle.loads(pickle.dumps(network))]
        for twin in copies:
            twin(images)
    assert not values.outputs
    for twin in copies:
        assert all(type(table) is OrderedDict for table in tables(twin))
        assert torch.equal(twin.maps(images), network.maps(images))
        assert sum(map(len, tables(twin))) == 1


def doubled(module: nn.Module, args: tuple[Tensor], output: Tensor) -> Tensor:
    return 2 * output


def test_hooks_of_the_user_work_on_and_can_be_removed_whenever_they_came(network, images):
    plain = network.maps(images)
    old = network.maps.register_forward_hook(doubled)
    with taking(network, outputs=["maps"]) as values:
        amid = network.maps.register_forward_hook(doubled, prepend=True)
        network(images)
        assert torch.equal(values.outputs["maps"], 4 * plain)
        old.remove()
        network(images)
        assert torch.equal(values.outputs["maps"], 2 * plain)
    assert torch.equal(network.maps(images), 2 * plain)
    amid.remove()
    assert torch.equal(network.maps(images), plain)
    take(network, images, outputs=["maps"])
    assert is_as_before(network)


def test_a_hook_that_is_always_called_is_called_when_a_pass_ends_early(network, images):
    called = []
    network.register_forward_hook(lambda *_: called.append(1), always_call=True)
    take(network, images, outputs=["maps.0"])
    assert called == [1]


def test_hooks_of_pytorch_are_registered_in_no_other_file():
    private = re.compile(r"register_(module_)?forward_(pre_)?hook|_forward_(pre_)?hooks")
    files = Path(foveal.__file__).parent.rglob("*.py")
    assert [file.name for file in files if private.search(file.read_text(encoding="utf-8"))] == ["taps.py"]


# -------------------------------------------------------------------------------------------------------- threads


@pytest.fixture
def squeezenet() -> nn.Module:
    torch.manual_seed(0)
    return build("squeezenet1_1", 3, 3, (48, 48)).eval()


def test_two_threads_on_one_trunk_have_maps_of_their_own(squeezenet, hasty):
    maps = Stages(squeezenet, "squeezenet1_1", (8, 16))

    def work(picture: Tensor):
        wanted = maps(picture)
        return lambda: all(same(maps(picture), wanted) for _ in range(PASSES))

    with torch.no_grad():
        assert in_threads(*[no_grad(work(torch.randn(1, 3, 48, 48))) for _ in range(2)]) == [True, True]
    assert is_as_before(squeezenet)


def test_two_threads_on_one_network_have_features_of_their_own(squeezenet, hasty):
    path = classifier_path(squeezenet, "squeezenet1_1")

    def features(picture: Tensor) -> Tensor:
        with taking_features(squeezenet, path) as taken:
            squeezenet(picture)
            return taken.take()

    def work(picture: Tensor):
        wanted = features(picture)
        return lambda: all(torch.equal(features(picture), wanted) for _ in range(PASSES))

    with torch.no_grad():
        assert in_threads(*[no_grad(work(torch.randn(1, 3, 48, 48))) for _ in range(2)]) == [True, True]
    assert is_as_before(squeezenet)


def test_a_plain_pass_is_not_disturbed_by_taps_of_other_threads(network, images, hasty):
    """Failing passes too, in which PyTorch goes through a module's hooks line by line."""
    calls = []

    def slow(*_) -> None:
        calls.append(1)
        time.sleep(1e-5)  # another thread's turn

    kept = [network.register_forward_hook(slow, always_call=True) for _ in range(5)]
    bad, logits = images[:, :2], network(images)
    calls.clear()

    def passes() -> bool:
        for _ in range(PASSES):
            assert torch.equal(network(images), logits)
            with pytest.raises(RuntimeError, match="channels"):
                network(bad)
        return True

    def taps() -> bool:
        for _ in range(PASSES):
            with watching(network, lambda *_: None, lambda *_: None):
                pass
            assert "" in take(network, images, outputs=["maps", ""]).outputs
            copy.deepcopy(network)
        return True

    assert in_threads(no_grad(passes), no_grad(taps)) == [True, True]
    assert len(calls) == 5 * PASSES * 3
    for handle in kept:
        handle.remove()
    assert is_as_before(network)


def test_a_thread_does_not_see_what_another_one_watches(network, images):
    seen, ready, done = [], threading.Event(), threading.Event()

    def watch() -> None:
        with watching(network, lambda path, *_: seen.append(path), lambda path, *_: seen.append(path)):
            ready.set()
            assert done.wait(20)

    def run() -> None:
        assert ready.wait(20)
        network(images)
        layers(nn.Sequential(network.maps), 8)
        assert len(network.maps._forward_hooks) == 0
        done.set()

    in_threads(watch, run)
    assert not seen
    assert is_as_before(network)


def same(found: list[Tensor], wanted: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


def no_grad(work):
    """The mode belongs to a thread."""
    return torch.no_grad()(work)
