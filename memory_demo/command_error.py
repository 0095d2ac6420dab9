"""How a command of the command line ends that cannot be carried out."""


class CommandError(Exception):
    """The message is one sentence for the person who gave the command."""
