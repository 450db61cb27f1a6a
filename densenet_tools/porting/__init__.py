"""Weights from any kind of file to any other, and the two compared."""

from densenet_tools.porting.formats import Format, format_of
from densenet_tools.porting.port import Comparison, Ported, compare, convert
from densenet_tools.porting.writers import check_writable, write

__all__ = ["Comparison", "Format", "Ported", "check_writable", "compare", "convert", "format_of", "write"]
