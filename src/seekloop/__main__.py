"""`python -m seekloop`."""


def main() -> None:
    """Run the command named first."""


if __name__ == "__main__":
    main()
