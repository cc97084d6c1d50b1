"""A powermeter as laboratories have them, simulated: its photodiode has noise."""

import random
import time


class Powermeter:
    """A homemade powermeter at a serial port."""

    RANGES_V = (0.1, 0.5, 1.0, 2.0, 5.0)

    def __init__(self, device: str = "/dev/ttyACM0") -> None:
        self._device = device
        self._range = 1
        self._noise = random.Random(device)

    @property
    def identity(self) -> str:
        """The device's identity."""
        return f"QO100 {self._device}"

    @property
    def range(self) -> int:
        """The sensitivity: 1, the finest, to 5."""
        return self._range

    @range.setter
    def range(self, value: int) -> None:
        if not 1 <= value <= len(self.RANGES_V):
            raise ValueError(f"range {value} is not 1 to {len(self.RANGES_V)}")
        self._range = value

    def read_voltage(self, samples: int = 1) -> float:
        """Measure the photodiode's voltage, the mean of some samples of 1 ms each."""
        if samples < 1:
            raise ValueError(f"{samples} samples are none")
        time.sleep(samples / 1000)
        noise = sum(self._noise.gauss(0, 0.01) for _ in [None] * samples) / samples
        return self.RANGES_V[self._range - 1] * (0.42 + noise)
