"""A network, trained; or the mean of several that were trained alike from the same weights: a soup.

Networks that begin from the same weights end near one another, and the mean of their weights does about as well as all
of them together, at the price of one (Wortsman et al., Model soups, ICML 2022).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from node.errors import Misconfigured
from node.imaging.formats import built
from node.learn import checkpoint
from node.learn.architectures import of_network
from node.learn.fitting import Epoch, Listener, fit
from node.learn.learners import Material, teacher
from node.learn.place import Place
from node.learn.recipe import Recipe
from node.learn.run import Member, part_folders


def refuse(recipe: Recipe) -> None:
    """See that what a soup is made of begins from the same weights.

    Raises:
        Misconfigured: it does not; names the key.
    """
    count = 1 + len(recipe.networks) if recipe.training.soup > 1 else 0
    for number in range(count):
        if of_network(recipe, number).start is None:
            problem = f"is {recipe.training.soup}, and the networks do not begin from the same weights"
            remedy = "Name some in [start], and for each of [[networks]], or leave it out"
            raise Misconfigured("recipe.toml", "training.soup", problem, remedy)


def trained(member: Member, material: Material, place: Place, listener: Listener) -> nn.Module:
    """Train what the recipe asks for, going on from what the member's folder keeps; return it.

    Raises:
        Failed: a loss became no number, or the weights cannot be written.
        Misconfigured: what the folder keeps belongs to another network.
    """
    count = material.recipe.training.soup
    if count == 1:
        return _fitted(member, material, place, listener)
    states = []
    for number, part in enumerate(parts(member, count)):
        if part.is_trained:
            state = read_weights(part)
        else:
            part.folder.mkdir(parents=True, exist_ok=True)
            epochs = material.recipe.training.epochs
            state = _fitted(part, material, place, _shifted(listener, number * epochs, count * epochs)).state_dict()
            if place.leads:
                write_weights(part, state)
                checkpoint.forget(part.folder)
        states.append({name: each.detach().cpu() for name, each in state.items()})
    assert material.recipe.network is not None
    network = built(material.recipe.network)
    try:
        network.load_state_dict(mean(states))
    except RuntimeError as error:
        remedy = "Remove its folder, and train again"
        raise Misconfigured(member.folder, "", "holds parts of another network", remedy) from error
    return network.eval().to(place.device)


def parts(member: Member, count: int) -> list[Member]:
    """The trainings that a member's network is the mean of, each with a seed of its own."""
    return [member.part(number + 1, member.seed * count + number) for number in range(count)]


def mean(states: Sequence[Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Return the mean of each tensor; of what counts, such as batches that were seen, that of the first network."""
    first, *_ = states
    return {
        name: torch.stack([state[name].double() for state in states]).mean(0).to(each.dtype)
        if each.is_floating_point()
        else each
        for name, each in first.items()
    }


def write_weights(member: Member, state: Mapping[str, torch.Tensor]) -> None:
    """Keep the weights of a training.

    Raises:
        Failed: they cannot be written.
    """
    # Copies: what two layers share is nothing that safetensors writes.
    tensors = {name: each.detach().cpu().clone().contiguous() for name, each in state.items()}
    checkpoint.write_whole(member.weights, lambda path: save_file(tensors, path))


def read_weights(member: Member) -> dict[str, torch.Tensor]:
    """Return the weights that were kept.

    Raises:
        Misconfigured: they are not there, or damaged.
    """
    try:
        found: dict[str, torch.Tensor] = load_file(member.weights)
    except (OSError, SafetensorError) as error:
        raise unreadable(member, error) from error
    return found


def unreadable(member: Member, error: Exception) -> Misconfigured:
    """Return what is said of weights that cannot be used."""
    problem = f"cannot be read: {str(error).splitlines()[0]}"
    return Misconfigured(member.weights, "", problem, "Remove its folder, and train again")


def forget_parts(member: Member) -> None:
    """Remove the weights that a kept mean was made of; what was told of their epochs stays."""
    for folder in part_folders(member.folder):
        replace(member, folder=folder).weights.unlink(missing_ok=True)


def _fitted(member: Member, material: Material, place: Place, listener: Listener) -> nn.Module:
    assert material.recipe.task is not None
    learner = teacher(material.recipe.task).learner(material, member.seed)
    fit(learner, material.recipe.training, member.folder, member.seed, place, listener)
    return learner.network


def _shifted(listener: Listener, before: int, of: int) -> Listener:
    """Count the epochs of one network among those of all."""

    def hear(told: Epoch | tuple[int, int]) -> None:
        listener(replace(told, number=told.number + before, of=of) if isinstance(told, Epoch) else told)

    return hear
