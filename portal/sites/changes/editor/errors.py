"""How the editor service can fail us. None of these is shown to owners."""


class EditorAway(Exception):
    """No answer, or "not now": trying again later is right."""


class EditorRefused(Exception):
    """The service's final no: a wrong key or model, or a request it does not take. The words are for staff."""


class EditorNonsense(Exception):
    """An answer that is not one."""


class EditorCannot(Exception):
    """The service says that it cannot do this, in words of its own."""
