"""``python -m anatomark`` is ``anatomark``."""

from anatomark.cli.app import script

if __name__ == "__main__":
    script()
