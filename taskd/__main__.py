"""``python -m taskd`` is the ``taskd`` command."""

from taskd.cli.taskd import main

if __name__ == "__main__":
    main()
