"""``python -m vidswap``."""

from vidswap.cli import main

if __name__ == "__main__":
    main()
