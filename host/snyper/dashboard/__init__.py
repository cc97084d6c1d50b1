"""`snyper dashboard`: the range as a web page, in a process of its own.

One console on the wire (`feed`) fills one `model` for any number of browsers; the pages draw it.
"""
