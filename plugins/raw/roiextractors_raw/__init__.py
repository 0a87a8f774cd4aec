"""Opens movies that are raw bytes: with a shape that the user gives, or with the side file of the Zhuang lab or of Picasso."""
