"""`python -m captionfleet_cli` is the command `captionfleet`."""

from captionfleet_cli.main import main

if __name__ == "__main__":
    main()
