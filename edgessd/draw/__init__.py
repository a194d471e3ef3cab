"""Drawing on pictures: detections, text, and a sheet of the priors."""
