import argparse


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Count words in files.")
    parser.add_argument("files", nargs="+", help="files to read")
    parser.add_argument("--verbose", action=, help="say more")
    return parser
