"""What a person may set on a hub board in config.json, and what holds where it is left out."""

DEFAULTS = {
    "listen": ":8081",
    "max_targets": 4,  # the network stack has five connections, and the access point takes four stations
    "max_consoles": 1,
    "access_point": {"ssid": "snyper", "password": "pop-up-targets", "channel": 6},
}
