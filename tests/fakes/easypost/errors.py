"""How the fake EasyPost says no."""


class ApiError(Exception):
    """A refusal in the API's shape."""

    def __init__(self, status: int, code: str, message: str, **fields: str) -> None:
        super().__init__(message)
        self.status = status
        errors = [{"field": name, "message": text} for name, text in fields.items()]
        self.body = {"error": {"code": code, "message": message, "errors": errors}}
