"""The inspector at work: files in, verdicts out; exported models; and what this machine can carry.

An edge machine imports a few of these rooms alone, so nothing is imported here.
"""
