"""Links: the rules of saving, changing, finding, importing and exporting them, and where they are kept."""
