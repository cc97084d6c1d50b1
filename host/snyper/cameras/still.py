"""Pictures that do not change: a camera that shows the same again and again is broken, or blind. Pure."""

SAME_PICTURES = 10  # in a row


class StillPictures:
    """The last picture of each camera, and how often it has come in a row."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[str, int]] = {}

    def see(self, camera_id: str, picture: str) -> None:
        """See a camera's picture, by its hash."""
        last, count = self._last.get(camera_id, ("", 0))
        self._last[camera_id] = (picture, count + 1 if picture == last else 1)

    def is_still(self, camera_id: str) -> bool:
        """Tell whether a camera's picture does not change."""
        return self._last.get(camera_id, ("", 0))[1] >= SAME_PICTURES
