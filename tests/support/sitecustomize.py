"""Python runs this at the start of every child process of the tests: they are as offline as the tests themselves."""

import os

import offline

if os.environ.get(offline.LOG):
    offline.block()
