"""``python -m mortalsim``: the same as the command ``mortalsim``."""

from mortalsim.cli import main

if __name__ == "__main__":
    main()
