"""Head, hand and chest films, drawn as thickness of tissue on the way of each ray."""
