"""The clock room: what is due by time. APScheduler only holds the clock; truth is in our tables."""
