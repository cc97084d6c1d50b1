"""What a person may set on a target in config.json, and what holds where it is left out."""

DEFAULTS = {
    "target_id": "target_1",
    "groups": [],
    "hub": ["192.168.4.1:8081"],  # tried in order
    "wifi": {"ssid": "snyper", "password": ""},
    "servo": {"pin": 16, "up_deg": 90, "down_deg": 0, "travel_ms": 300},
    "piezo": {"pin": 26, "threshold": 20_000, "debounce_ms": 50, "sample_ms": 2},
    "led": {"pin": "LED"},
    "safe_pose": "down",  # without a hub: "down" lies down, "stay" stays as it is
}
