"""The kit of every page that foveal writes: a `Page` is a value, and `render` makes one offline HTML file of it."""
