"""What several prompts end in: a wish for text that can be read, and learnt from, without the document beside it."""

ALONE = (
    "Its readers have never seen the text above: name people, places, things and dates wherever they come up, and "
    "refer to nothing outside. Answer with the finished text only, without a word about it or about this request."
)
