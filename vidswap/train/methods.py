"""Which methods there are: the name in a recipe → the class that trains."""

import torch

from vidswap.errors import RecipeError
from vidswap.train.data import Pictures
from vidswap.train.method import Method
from vidswap.train.options import TrainRecipe


def build(recipe: TrainRecipe, data: Pictures, device: torch.device) -> Method:
    """The training that a recipe names, its networks fresh.

    Raises:
        RecipeError: Unknown, or the data lack what it needs.
    """
    match recipe.method.name:
        case "stylegan2":
            from vidswap.train.stylegan2 import StyleGAN2Training

            return StyleGAN2Training(recipe, data, device)
    raise RecipeError(f"no training is called {recipe.method.name!r}")
