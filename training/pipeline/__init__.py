"""The steps from data to a published version, separately and in a row.

The steps are fit, export, verify, evaluate and publish. Those after `fit` work on the folder
`artifact` in the run folder. Each of them adds to its card, and only a complete card is published.
"""
