"""Training: one loop for every backend, in a folder that a run can go on from."""

from densenet_tools.training.log import Step as Step
from densenet_tools.training.loop import BEST as BEST, Training as Training
from densenet_tools.training.runs import begun as begun, resumed as resumed, weights_of as weights_of
from densenet_tools.training.settings import Settings as Settings, read as read
from densenet_tools.training.state import Epoch as Epoch
from densenet_tools.training.tensorboard import board as board
