"""Pictures, drawn by matplotlib into a file: a file for each kind."""

from densenet_tools.figures.canvas import SUFFIXES as SUFFIXES, Theme as Theme, check as check
