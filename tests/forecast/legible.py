"""How large the text of a figure is where its page shows it."""

from matplotlib.figure import Figure
from matplotlib.text import Text

PAGE = 900.0
"""Width at which a page of the repository shows a figure, in pixels."""
SMALLEST = 9.0
"""Height of the smallest text that is read without effort, in pixels."""


def smallest_text(figure: Figure) -> float:
    """Size of the smallest text of a figure when it is shown `PAGE` pixels wide, in pixels."""
    figure.draw_without_rendering()
    sizes = [
        text.get_fontsize()
        for text in figure.findobj(Text)
        if text.get_visible() and text.get_text().strip()
    ]
    return float(min(sizes)) * PAGE / (72.0 * figure.get_figwidth())
