"""Schedules: what a decision is, and the policies that draw the decisions of an execution."""
