"""The AHI DICOMweb proxy. `python main.py` serves; `python main.py --help` lists the other commands."""

from app.commands.command_line import end, main

if __name__ == "__main__":
    end(main())
