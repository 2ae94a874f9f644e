"""HL7 v2 over MLLP, coming in: what hospital systems tell of patients, orders and reports.

A message is durable before it is acknowledged, and acted upon afterwards, in the order of arrival, once.
"""
