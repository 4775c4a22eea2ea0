"""Inter 4, the Latin subset of its variable font, as fontsource packs it; see LICENSE."""
