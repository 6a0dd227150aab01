"""Parts shared by several solvers: line searches, damping, local least squares."""
