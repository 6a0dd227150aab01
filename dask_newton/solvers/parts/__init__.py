"""What several solvers share: line searches, damping, local least squares."""
