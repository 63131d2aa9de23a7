"""Makes shards of a manifest, chunk by chunk; what a killed run has finished is kept when it is started again.

Which samples a chunk holds, and every byte of it, follow from the manifest, the options and the files, so a run that
was killed and continued ends with the same bytes as one that was not, with any number of processes. A chunk whose
files have changed since (in size or time of change) is made again.
"""
