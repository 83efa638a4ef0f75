"""The listing of all image sets that AHI has: complete, in parallel, and sorted with little memory."""
