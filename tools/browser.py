"""The browser that tests, faults and pictures look through, where there is one: Chromium."""

import shutil

# With windows and tabs, of which one at a time is seen.
CHROMIUM = shutil.which("chromium")
# What only draws pages needs a third less of the processor for the same pages.
HEADLESS = shutil.which("chromium-headless-shell") or CHROMIUM

HOW_TO_HAVE_IT = "no browser here: apt install chromium chromium-headless-shell"
