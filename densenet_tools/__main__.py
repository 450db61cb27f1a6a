"""`python -m densenet_tools` is the command line `densenet`."""

import sys

from densenet_tools.commands.app import main

sys.exit(main())
