"""The fast evaluator: the reference's answers, many masks a second."""
