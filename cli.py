"""Run vidswap from a bare checkout: ``python cli.py run clip.mp4 --source face.jpg``."""

from vidswap.cli import main

if __name__ == "__main__":
    main()
