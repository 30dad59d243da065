"""A live view in the browser: where the buoys are, what they measured, and how the pipeline fares.

Everything that a page shows comes from one server's memory, which asks the engines once for all pages. It only reads.
"""
