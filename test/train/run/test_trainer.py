"""The loss, the order of the crops, one training step and the states on disk."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from numbered import Numbered
from torch import nn

from swfastedit_core import UserError
from swfastedit_core.checkpoint import Channels, CheckpointConfig
from swfastedit_core.click_encodings import GradedBallEncoding
from swfastedit_core.engine.choice import cpu_has_bfloat16
from swfastedit_core.intensity import RangeIntensity
from swfastedit_core.model import ARCHITECTURES, NetworkConfig, build_network
from swfastedit_core.preprocess import Preprocessing
from swfastedit_core.system.atomic import remove_unfinished
from swfastedit_core.train.crops.click_settings import ClickSettings, sample_clicks
from swfastedit_core.train.crops.loader import CaseSampler, Crops, batches
from swfastedit_core.train.run.fabric import launch_fabric, training_precision
from swfastedit_core.train.run.loss import SegmentationLoss, TrainingNetwork
from swfastedit_core.train.run.optimiser import build_optimiser, learning_rate_at
from swfastedit_core.train.run.settings import LearningSettings
from swfastedit_core.train.run.states import list_states, read_newest_state, write_state
from swfastedit_core.train.run.trainer import Trainer

CPU = torch.device("cpu")
SIDE = (32, 32, 32)
CONFIG = CheckpointConfig(
    NetworkConfig("dynunet", (4,) * 6), Preprocessing((4.0, 4.0, 4.0), RangeIntensity(0.0, 10.0)), window=SIDE
)


@pytest.fixture(scope="module")
def fabric():
    return launch_fabric(CPU, "float32")


@pytest.fixture
def trainer_of(fabric):
    def make(**learning):
        return Trainer(CONFIG, LearningSettings(**{"learning_rate": 1e-2, "seed": 5, **learning}), fabric, steps=8)

    return make


def crop(seed):
    rng = np.random.default_rng(seed)
    image = rng.random((1, 1, *SIDE), dtype=np.float32)
    return torch.from_numpy(image), torch.from_numpy((image > 0.9).astype(np.uint8))


# The loss


def logits_of(probability):
    """Logits of two classes with this probability of the second."""
    return torch.tensor([0.0, math.log(probability / (1 - probability))]).view(1, 2, 1, 1, 1).expand(1, 2, 2, 2, 2)


def test_loss_is_dice_and_cross_entropy_of_the_softmax():
    label = torch.zeros((1, 1, 2, 2, 2), dtype=torch.uint8)
    label[..., 0] = 1  # half of the voxels
    found = SegmentationLoss()([logits_of(0.75)], label)
    # Background: 2·4·0.25 / (8·0.0625 + 4) = 0.4444; tumour: 2·4·0.75 / (8·0.5625 + 4) = 0.7059.
    squared = 1 - (2 / 4.5 + 6 / 8.5) / 2
    entropy = -(math.log(0.75) + math.log(0.25)) / 2
    assert float(found) == pytest.approx(squared + entropy, abs=1e-4)
    # Without squares: 2 / (2 + 4) and 6 / (6 + 4).
    assert float(SegmentationLoss(squared=False)([logits_of(0.75)], label)) == pytest.approx(
        1 - (2 / 6 + 6 / 10) / 2 + entropy, abs=1e-4
    )
    assert float(SegmentationLoss("dice")([logits_of(0.75)], label)) == pytest.approx(squared, abs=1e-4)
    # Without the background, the Dice loss is that of the tumour; the cross entropy stays.
    tumour = 1 - 6 / 8.5
    for kind, expected in (("dice", tumour), ("dice-ce", tumour + entropy)):
        found = SegmentationLoss(kind, background=False)([logits_of(0.75)], label)
        assert float(found) == pytest.approx(expected, abs=1e-4)


def test_crop_without_a_lesion_has_a_finite_loss_and_gradient():
    logits = torch.full((1, 2, 2, 2, 2), 0.0, requires_grad=True)
    loss = SegmentationLoss()([logits], torch.zeros((1, 1, 2, 2, 2), dtype=torch.uint8))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad[:, 1] > 0).all()  # to lower the tumour's logit lowers the loss


def test_levels_weigh_half_as_much_each_and_see_the_label_at_their_size():
    fine, coarse = torch.zeros((1, 2, 4, 4, 4)), torch.zeros((1, 2, 2, 2, 2))
    label = torch.zeros((1, 1, 4, 4, 4), dtype=torch.uint8)
    label[0, 0, :2, :2, 0] = 1  # half of one coarse voxel
    label[0, 0, 2:, 2:, 3:] = 0
    small = torch.zeros((1, 1, 2, 2, 2), dtype=torch.uint8)
    small[0, 0, 0, 0, 0] = 1
    objective = SegmentationLoss()
    expected = (float(objective([fine], label)) + 0.5 * float(objective([coarse], small))) / 1.5
    assert float(objective([fine, coarse], label)) == pytest.approx(expected, abs=1e-6)


def test_deep_supervision_leaves_the_network_as_it_is():
    torch.manual_seed(0)
    network = build_network(CONFIG.network)
    image, _ = crop(0)
    plain, deep = TrainingNetwork(network)(image), TrainingNetwork(network, deep_supervision=True)(image)
    torch.testing.assert_close(plain[0], deep[0])
    torch.testing.assert_close(plain[0], network(image))
    assert [tuple(level.shape) for level in deep] == [(1, 2, 32, 32, 32), (1, 2, 16, 16, 16), (1, 2, 8, 8, 8)]


class Plus(nn.Module):
    """Stands in for a network: its logits are the image and the image plus one."""

    def __init__(self):
        super().__init__()
        self.config = NetworkConfig("dynunet", (4,) * 6)
        self.upsamples = []
        self.seen = []

    def forward(self, image):
        self.seen.append(tuple(image.shape))
        return torch.cat((image, image + 1), dim=1)


def test_crops_larger_than_the_window_are_run_in_windows_and_put_together():
    network, image = Plus(), torch.rand((1, 1, 48, 32, 32))
    (logits,) = TrainingNetwork(network, window=SIDE, overlap=0.25)(image)
    torch.testing.assert_close(logits, torch.cat((image, image + 1), dim=1))
    assert network.seen == [(2, 1, *SIDE)]  # from 0 and from 16 on
    network.seen.clear()
    TrainingNetwork(network, window=SIDE)(image)
    assert network.seen == [(1, 1, 48, 32, 32)]


def test_trainer_cuts_larger_crops_into_windows_unless_whole_crops_are_asked_for(trainer_of):
    image, label = (tensor.repeat(1, 1, 2, 1, 1) for tensor in crop(0))
    for learning, batches_seen in (({}, [(3, 1, *SIDE)]), ({"whole_crops": True}, [(1, 1, 64, 32, 32)])):
        trainer, seen = trainer_of(**learning), []
        trainer.model.network.register_forward_pre_hook(lambda _, given, seen=seen: seen.append(tuple(given[0].shape)))
        trainer.train_step(image, label)
        assert seen == batches_seen  # with an overlap of 0.25, windows of 32 start at 0, 24 and 32


# The order of the crops


def test_every_case_comes_once_an_epoch_in_another_order_each():
    sampler = CaseSampler(((0, 1, 2), (3, 4)), seed=3)
    epochs = [[sampler.case_index(epoch * 5 + i) for i in range(5)] for epoch in range(4)]
    assert all(sorted(epoch) == [0, 1, 2, 3, 4] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert sampler.case_index(17) == epochs[3][2]


def test_shares_decide_how_often_a_group_is_drawn_from():
    sampler = CaseSampler((tuple(range(90)), (90, 91)), shares=(1.0, 3.0), seed=1)
    drawn = [sampler.case_index(item) for item in range(4000)]
    assert 0.72 < np.mean([case >= 90 for case in drawn]) < 0.78
    assert 0.33 < np.mean([case == 90 for case in drawn]) < 0.42
    assert len(set(drawn)) == 92


CROPS = Crops(CaseSampler((tuple(range(7)),), seed=11), Numbered())


def values(**how):
    return [image.flatten(1)[:, 0].tolist() for image, _, _ in batches(CROPS, **how)]


def test_crops_are_the_same_after_a_restart_and_in_other_processes():
    whole = values(steps=range(6), batch_size=4)
    assert values(steps=range(4, 6), batch_size=4) == whole[4:]
    assert values(steps=range(6), batch_size=4, processes=2) == whole
    halves = [values(steps=range(6), batch_size=4, rank=rank, ranks=2) for rank in range(2)]
    assert [a + b for a, b in zip(*halves, strict=True)] == whole
    assert len({value for batch in whole for value in batch}) == 24


def test_batches_hold_image_label_and_clicks():
    image, label, clicks = next(iter(batches(CROPS, steps=range(1), batch_size=3)))
    assert (image.shape, image.dtype) == ((3, 1, 2, 2, 2), torch.float32)
    assert (label.shape, label.dtype) == ((3, 1, 2, 2, 2), torch.uint8)
    assert (clicks.shape, clicks.dtype) == ((3, 2, 0, 3), torch.int64)
    np.testing.assert_array_equal(image[:, 0].floor(), label[:, 0])


# A step


def weights_after(trainer, steps):
    for step in range(trainer.step, steps):
        trainer.train_step(*crop(step))
    return trainer.weights()


def test_learning_rate_falls_as_a_cosine(trainer_of):
    assert learning_rate_at(0, steps=8, first=1e-3) == 1e-3
    assert learning_rate_at(4, steps=8, first=1e-3) == pytest.approx(5e-4, rel=1e-4)
    assert learning_rate_at(8, steps=8, first=1e-3) == pytest.approx(1e-8)
    trainer = trainer_of()
    weights_after(trainer, 4)
    assert trainer.learning_rate == pytest.approx(5e-3, rel=1e-4)


@pytest.mark.parametrize("steps", [4, 10, 100])
def test_schedules_are_those_of_torch(steps):
    """Without the rounding of torch's, which multiplies the rate of one step after the other."""
    milestones = [math.ceil(steps * share) for share in (0.25, 0.5, 0.75)]
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.5)
    schedulers = {
        "cosine": partial(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=steps, eta_min=1e-8),
        "multistep": partial(torch.optim.lr_scheduler.MultiStepLR, milestones=milestones, gamma=0.333),
        "polynomial": partial(torch.optim.lr_scheduler.PolynomialLR, total_iters=steps, power=2),
    }
    for name, make in schedulers.items():
        optimiser.param_groups[0]["lr"] = 0.5
        optimiser.param_groups[0].pop("initial_lr", None)
        scheduler = make(optimiser)
        for step in range(steps):
            found = learning_rate_at(step, steps=steps, first=0.5, schedule=name)
            assert found == pytest.approx(scheduler.get_last_lr()[0], abs=1e-9), (name, step)
            optimiser.step()
            scheduler.step()


def test_schedule_loss_and_optimiser_of_the_settings_are_used(trainer_of):
    assert trainer_of(schedule="multistep").learning_rate == trainer_of(schedule="polynomial").learning_rate == 1e-2
    for schedule, rate in (("multistep", 3.33e-3), ("polynomial", 1e-2 * (6 / 8) ** 2)):
        trainer = trainer_of(schedule=schedule)
        weights_after(trainer, 2)
        assert trainer.learning_rate == pytest.approx(rate)
    losses = {}
    for name, learning in {
        "recipe": {},
        "dice": {"loss": "dice"},
        "tumour": {"loss": "dice", "exclude_background": True},
    }.items():
        losses[name] = trainer_of(**learning).train_step(*crop(0))[0]
    assert losses["dice"] < losses["recipe"] - 0.3  # the cross entropy of a network that knows nothing
    assert losses["tumour"] > losses["dice"] + 0.1  # the background is easy: nine of ten voxels


def test_novograd_scales_each_tensors_gradient_by_its_norm():
    weight = nn.Parameter(torch.tensor([3.0, 4.0]))
    optimiser = build_optimiser("novograd", [weight], learning_rate=0.1)
    weight.grad = torch.tensor([30.0, 40.0])
    optimiser.step()
    torch.testing.assert_close(weight.detach(), torch.tensor([3.0 - 0.1 * 0.6, 4.0 - 0.1 * 0.8]))


INTERACTIVE = replace(
    CONFIG,
    network=NetworkConfig("dynunet", (4,) * 6, in_channels=3),
    channels=Channels.PET_CLICKS,
    clicks=GradedBallEncoding(),
)


def guided_weights_after(trainer, settings, steps):
    """Train with clicks; those of a step depend on its index, as in a run."""
    for step in range(trainer.step, steps):
        image, label = crop(step)
        clicks = sample_clicks(image[0].numpy(), label[0, 0].numpy(), np.random.default_rng(step), settings)
        trainer.train_step(image, label, torch.from_numpy(clicks[None]))
    return trainer.weights()


@pytest.mark.parametrize(
    "settings",
    [
        {"without": 0.0, "from_errors": 1.0, "draw": "distance"},
        pytest.param(
            {"rounds": 3, "stop": "probability", "probability": 0.8, "encoding": "disc"}, marks=pytest.mark.long
        ),
        pytest.param({"rounds": 2, "stop": "dice-probability", "strategy": "deepgrow"}, marks=pytest.mark.long),
    ],
)
def test_interactive_training_goes_on_as_if_nothing_had_happened(settings, fabric):
    chosen = ClickSettings(interactive=True, **settings)
    config = replace(INTERACTIVE, clicks=chosen.click_encoding())

    def new():
        return Trainer(config, LearningSettings(learning_rate=1e-2), fabric, steps=4, clicks=chosen)

    whole, first, second = new(), new(), new()
    expected = guided_weights_after(whole, chosen, 4)
    guided_weights_after(first, chosen, 2)
    second.load_state(first.state())
    found = guided_weights_after(second, chosen, 4)
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())
    kernel = "input_block.conv1.conv.weight"
    assert not torch.equal(found[kernel][:, 1:], new().weights()[kernel][:, 1:])  # the guidance channels learn


def test_predictions_of_rounds_leave_network_and_gradients_as_they_are(fabric):
    """Between two steps the network is in evaluation mode, without gradients; the step itself is in training mode."""
    settings = ClickSettings(interactive=True, rounds=3)
    trainer = Trainer(INTERACTIVE, LearningSettings(), fabric, steps=4, clicks=settings)
    calls = []
    trainer.model.network.register_forward_hook(
        lambda network, given, _: calls.append((network.training, torch.is_grad_enabled(), given[0].shape[1]))
    )
    guided_weights_after(trainer, settings, 1)
    assert calls == [(False, False, 3)] * 3 + [(True, True, 3)]


@pytest.mark.parametrize(
    "options", [{}, {"ema": 0.9, "deep_supervision": True, "clip": 0.5}, {"optimizer": "novograd"}]
)
def test_loaded_state_goes_on_as_if_nothing_had_happened(options, trainer_of, tmp_path):
    whole = weights_after(trainer_of(**options), 6)
    first = trainer_of(**options)
    weights_after(first, 3)
    write_state(tmp_path, {"trainer": first.state()}, step=3, keep=1)
    second = trainer_of(**options)
    second.load_state(read_newest_state(tmp_path, warn=print)[1]["trainer"])
    resumed = weights_after(second, 6)
    fresh = trainer_of(**options).weights()
    for name, tensor in whole.items():
        assert torch.equal(tensor, resumed[name]), name
    assert not torch.equal(fresh["bottleneck.conv1.conv.weight"], whole["bottleneck.conv1.conv.weight"])


def test_dropout_goes_on_with_the_same_random_numbers(fabric, monkeypatch):
    small = replace(ARCHITECTURES["smalldynunet"], dropout=ARCHITECTURES["hugedynunet"].dropout)
    monkeypatch.setitem(ARCHITECTURES, "smalldynunet", small)
    config = CheckpointConfig(NetworkConfig("smalldynunet", (2, 2, 2)), CONFIG.preprocessing, window=(16, 16, 16))
    image, label = torch.rand((1, 1, 16, 16, 16)), torch.zeros((1, 1, 16, 16, 16), dtype=torch.uint8)
    losses = []
    for disturbance in (0, 3):  # random numbers that somebody else draws in between make no difference
        trainer = Trainer(config, LearningSettings(seed=1), fabric, steps=4)
        trainer.train_step(image, label)
        torch.rand(disturbance)
        losses.append(trainer.train_step(image, label)[0])
    assert losses[0] == losses[1]
    assert sum(isinstance(module, nn.Dropout) for module in trainer.model.modules()) > 10
    huge = build_network(NetworkConfig("hugedynunet", (2,) * 7))
    assert sum(isinstance(module, nn.Dropout) for module in huge.modules()) > 10


@pytest.mark.parametrize(("decay", "kept"), [(0.1, 0.1), (0.999, 2 / 11)])
def test_average_of_the_weights_is_what_is_exported(decay, kept, trainer_of):
    """The second update keeps no more than (1 + 1) / (10 + 1): an average of two steps is not all of the first."""
    trainer = trainer_of(ema=decay)
    name = "output_block.conv.conv.weight"
    trainer.train_step(*crop(0))
    first = trainer.model.network.state_dict()[name].clone()
    torch.testing.assert_close(trainer.weights()[name], first)
    trainer.train_step(*crop(1))
    second = trainer.model.network.state_dict()[name]
    assert not torch.equal(first, second)
    torch.testing.assert_close(trainer.weights()[name], kept * first + (1 - kept) * second)


def test_gradients_are_clipped_to_the_norm(trainer_of):
    trainer = trainer_of(clip=1e-3)
    trainer.train_step(*crop(0))
    gradients = torch.cat([p.grad.flatten() for p in trainer.model.parameters()])
    assert float(gradients.norm()) == pytest.approx(1e-3, rel=1e-3)
    free = trainer_of()
    free.train_step(*crop(0))
    assert float(torch.cat([p.grad.flatten() for p in free.model.parameters()]).norm()) > 0.1


def test_step_without_a_finite_loss_changes_nothing_and_many_end_the_run(trainer_of):
    trainer = trainer_of()
    before = trainer.weights()
    image, label = torch.full((1, 1, *SIDE), float("nan")), torch.zeros((1, 1, *SIDE), dtype=torch.uint8)
    for _ in range(19):
        loss, _ = trainer.train_step(image, label)
        assert math.isnan(loss)
    assert trainer.step == 19
    assert all(torch.equal(tensor, before[name]) for name, tensor in trainer.weights().items())
    with pytest.raises(
        UserError, match="step 19: loss or gradients were not finite in 20 steps in a row; start a new run"
    ):
        trainer.train_step(image, label)
    other = trainer_of()
    for _ in range(19):
        other.train_step(image, label)
    assert math.isfinite(other.train_step(*crop(0))[0])
    assert other.skipped == 0


def test_step_whose_gradients_are_no_numbers_is_left_out_and_counted(trainer_of):
    trainer = trainer_of(ema=0.5)
    weights_after(trainer, 1)
    before = trainer.weights()
    kernel = trainer.model.network.bottleneck.conv1.conv.weight
    hook = kernel.register_hook(lambda gradient: gradient * float("inf"))
    loss, _ = trainer.train_step(*crop(1))
    assert np.isnan(loss)
    assert trainer.skipped == 1
    assert all(torch.equal(tensor, before[name]) for name, tensor in trainer.weights().items())
    hook.remove()
    loss, _ = trainer.train_step(*crop(1))
    assert np.isfinite(loss)
    assert trainer.skipped == 0


@pytest.mark.long
def test_bfloat16_learns_what_float32_learns(trainer_of):
    learning = LearningSettings(learning_rate=1e-2, seed=5, whole_crops=True)
    half = Trainer(CONFIG, learning, launch_fabric(CPU, "bfloat16"), steps=8)
    full, (image, label) = trainer_of(whole_crops=True), crop(0)
    image, label = image.repeat(1, 1, 3, 1, 1), label.repeat(1, 1, 3, 1, 1)
    losses = [(full.train_step(image, label)[0], half.train_step(image, label)[0]) for _ in range(6)]
    np.testing.assert_allclose(*zip(*losses, strict=True), rtol=0.02)
    assert losses[-1][0] < 0.95 * losses[0][0]
    assert all(tensor.dtype == torch.float32 for tensor in half.weights().values())


@pytest.mark.skipif(not cpu_has_bfloat16(), reason="this CPU does not multiply bfloat16")
@pytest.mark.parametrize(
    "size",
    [
        (96, 64, 32),
        (128, 64, 32),
        *(pytest.param(size, marks=pytest.mark.long) for size in ((96, 64, 96), (128, 64, 64))),
    ],
)
def test_gradients_in_bfloat16_are_right_for_the_sizes_that_are_allowed(size):
    """What is wrong for smaller crops is wrong by its whole length; see `training_precision`.

    Rounding alone is worth half a gradient's length here and there, on some processors a little more: what oneDNN
    computes may not be further off than what PyTorch's own kernels do, which round as well.
    """
    torch.manual_seed(0)
    network = build_network(NetworkConfig("dynunet", (4, 4, 4, 8, 16, 16))).to(memory_format=torch.channels_last_3d)
    image = torch.rand((1, 1, *size)).contiguous(memory_format=torch.channels_last_3d)
    label = (image > 0.9).to(torch.uint8)
    gradients = []
    for half, onednn in ((False, True), (True, True), (True, False)):
        network.zero_grad()
        with torch.backends.mkldnn.flags(enabled=onednn):
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                logits = network(image)
            SegmentationLoss()([logits], label).backward()
        gradients.append({name: p.grad.clone() for name, p in network.named_parameters()})
    full, *rounded = gradients
    # Before the norm that follows it, the scale of this one's output is lost, and so is its gradient but for rounding.
    del full["input_block.conv3.conv.weight"]
    ours, plain = ({name: float((one[name] - g).norm() / g.norm()) for name, g in full.items()} for one in rounded)
    excess = {name: error - plain[name] for name, error in ours.items()}
    assert max(excess.values()) < 0.2, max(excess, key=excess.get)
    assert max(ours.values()) < 0.6, max(ours, key=ours.get)


def test_bfloat16_is_not_taken_where_a_cpu_gets_its_gradients_wrong():
    assert training_precision("auto", CPU, CONFIG, (64, 128, 128)) == "float32"
    assert training_precision("float32", CPU, CONFIG, SIDE) == "float32"
    assert training_precision("bfloat16", CPU, CONFIG, (96, 64, 96)) == "bfloat16"
    assert training_precision("bfloat16", torch.device("cuda"), CONFIG, SIDE) == "bfloat16"
    with pytest.raises(UserError, match="wrong gradients for 64 voxels along x, expected 96 or more"):
        training_precision("bfloat16", CPU, CONFIG, (64, 128, 128))


# States


def test_last_states_are_kept_and_the_newest_is_read(tmp_path):
    for step in (2, 4, 100):
        write_state(tmp_path, {"step": step, "tensor": torch.arange(3)}, step=step, keep=2)
    assert [path.name for path in list_states(tmp_path)] == ["00000004.state", "00000100.state"]
    _, state = read_newest_state(tmp_path, warn=print)
    assert state["step"] == 100
    assert torch.equal(state["tensor"], torch.arange(3))
    assert read_newest_state(tmp_path / "nothing", warn=print) is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1],
        lambda content: content[: len(content) // 2],
        lambda content: b"",
        lambda content: content[:100] + bytes([content[100] ^ 1]) + content[101:],
    ],
)
def test_damaged_state_gives_way_to_the_one_before(damage, tmp_path):
    for step in (2, 4):
        write_state(tmp_path, {"step": step}, step=step, keep=3)
    newest = list_states(tmp_path)[-1]
    newest.write_bytes(damage(newest.read_bytes()))
    warnings = []
    assert read_newest_state(tmp_path, warn=warnings.append)[1]["step"] == 2
    assert warnings == [f"warning: {newest} is damaged; using the previous state instead"]
    write_state(tmp_path, {"step": 3}, step=3, keep=1)  # the damaged one does not count
    assert [path.name for path in list_states(tmp_path)] == ["00000003.state"]
    list_states(tmp_path)[0].write_bytes(b"x" * 100)
    with pytest.raises(UserError, match="all 1 states are damaged; start again with another --output"):
        read_newest_state(tmp_path, warn=warnings.append)


def test_state_that_was_just_written_stays_whatever_else_is_there(tmp_path):
    write_state(tmp_path, {"step": 9}, step=9, keep=2)
    write_state(tmp_path, {"step": 5}, step=5, keep=1)
    assert [path.name for path in list_states(tmp_path)] == ["00000005.state"]


def test_state_half_written_by_a_killed_run_is_never_read_and_goes(tmp_path):
    write_state(tmp_path, {"step": 2}, step=2, keep=3)
    (tmp_path / ".4711.00000004.state").write_bytes(b"half")
    assert read_newest_state(tmp_path, warn=print)[1]["step"] == 2
    remove_unfinished(tmp_path, "*.state")
    assert [path.name for path in tmp_path.iterdir()] == ["00000002.state"]
