"""A person's own code: checked by reading, kept in versions, made into a CaptionModel."""
