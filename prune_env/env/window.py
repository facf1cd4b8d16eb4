"""The window of `render_mode="human"`."""

import sys
from importlib.util import find_spec
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from gymnasium.error import DependencyNotInstalled


def can_open() -> bool:
    """Return whether pygame is installed; it is not imported."""
    if "pygame" in sys.modules:
        return sys.modules["pygame"] is not None
    return find_spec("pygame") is not None


class Window:
    """Shows one picture after the other; it opens with the first, and needs pygame.

    A copy shares nothing with it: forks of an environment play unseen until they draw.

    Args:
        fps: Pictures a second at most.

    Raises:
        DependencyNotInstalled: There is no pygame.
    """

    def __init__(self, fps: int) -> None:
        try:
            import pygame  # noqa: PLC0415 - an extra of its own
        except ImportError:
            raise DependencyNotInstalled(
                "render_mode='human' opens a window with pygame, which is not installed: "
                "pip install 'prune-env[render]'; render_mode='rgb_array' needs nothing"
            ) from None
        self._pygame: Any = pygame
        self._fps = fps
        self._screen: Any = None
        self._clock: Any = None

    def show(self, picture: npt.NDArray[np.uint8]) -> None:
        """Show a picture (height, width, 3), and wait until the next may come."""
        if self._screen is None:
            self._pygame.init()
            self._screen = self._pygame.display.set_mode((picture.shape[1], picture.shape[0]))
            self._clock = self._pygame.time.Clock()
        surface = self._pygame.surfarray.make_surface(picture.swapaxes(0, 1))
        self._screen.blit(surface, (0, 0))
        self._pygame.event.pump()
        self._clock.tick(self._fps)
        self._pygame.display.flip()

    def close(self) -> None:
        """Close the window, if it is open."""
        if self._screen is not None:
            self._pygame.display.quit()
            self._screen = None

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return type(self)(self._fps)

    def __reduce__(self) -> tuple[type[Self], tuple[int]]:
        return type(self), (self._fps,)
