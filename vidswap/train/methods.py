"""Which methods there are: the name in a recipe → the class that trains."""

import torch

from vidswap.errors import RecipeError
from vidswap.train.data import Pictures
from vidswap.train.method import Method
from vidswap.train.options import TrainRecipe


def build(recipe: TrainRecipe, data: Pictures, device: torch.device) -> Method:
    """The training that a recipe names, its networks fresh.

    Raises:
        RecipeError: The data lack what it needs, or no network has such a shape.
    """
    try:
        return _build(recipe, data, device)
    except ValueError as error:  # of a network's configuration
        raise RecipeError(f"{recipe.method.name}: {error}", stage="train") from None


def _build(recipe: TrainRecipe, data: Pictures, device: torch.device) -> Method:
    match recipe.method.name:
        case "stylegan2":
            from vidswap.train.stylegan2 import StyleGAN2Training

            return StyleGAN2Training(recipe, data, device)
        case "identity":
            from vidswap.train.identity import IdentityTraining

            return IdentityTraining(recipe, data, device)
        case "parser":
            from vidswap.train.parser import ParserTraining

            return ParserTraining(recipe, data, device)
        case "encoder":
            from vidswap.train.encoder import EncoderTraining

            return EncoderTraining(recipe, data, device)
        case "landmarks":
            from vidswap.train.landmarks import LandmarksTraining

            return LandmarksTraining(recipe, data, device)
        case "latentswap":
            from vidswap.train.latentswap import LatentSwapTraining

            return LatentSwapTraining(recipe, data, device)
