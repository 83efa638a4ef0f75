"""The AHI DICOMweb proxy. `python main.py` serves; `python main.py --help` lists the other commands."""

try:
    from app.commands.command_line import end, main
except ModuleNotFoundError as error:
    raise SystemExit(f"{error}: run script/setup requirements.txt, and then .venv/bin/python main.py") from None

if __name__ == "__main__":
    end(main())
