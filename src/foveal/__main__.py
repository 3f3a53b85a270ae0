"""`python -m foveal` is `foveal`: for a machine whose PATH does not have the command, and for torchrun."""

from foveal.cli.main import run

if __name__ == "__main__":
    run()
