"""One form of a data set, one file: the other way round from `data/formats/`."""
