"""NiceGUI's chart, with a front of our own: theirs fails in the browser when its page is left at once."""

from nicegui.elements.echart import EChart


class Plot(EChart, component="plot.js"):
    """As `ui.echart`, without its events."""
