"""Puts the helpers beside this file where the tests of every room below find them."""
