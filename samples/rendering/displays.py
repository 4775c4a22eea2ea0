"""Papers that are none of the usual kinds: a poster, a menu, a chart, a note."""

from rendering.sheet import GREY, Ink, Sheet

HEIGHT = 800
RED: Ink = (150, 32, 36)
NAVY: Ink = (24, 42, 84)
SAND: Ink = (222, 196, 150)


def concert_poster() -> Sheet:
    """A poster: few words, large."""
    sheet = Sheet(height=HEIGHT)
    sheet.area(0, 0, 595, 800, NAVY)
    for index, height in enumerate((120, 200, 90, 260, 170, 230, 110, 190, 140)):
        sheet.area(60 + 54 * index, 560 - height, 34, height, SAND)
    sheet.text(297, 110, "BRASS BY THE SEA", 44, bold=True, align="center", ink=SAND)
    sheet.text(297, 160, "Open-air concert with five bands", 20, align="center", ink=SAND)
    sheet.text(297, 640, "Saturday 5 December, 6 pm", 28, align="center", ink=SAND)
    sheet.text(297, 685, "Lifeboat Slipway, Port Carrow", 22, align="center", ink=SAND)
    sheet.text(297, 740, "Free entry. Bring a blanket.", 16, align="center", ink=SAND)
    return sheet


def soup_menu() -> Sheet:
    """A menu card."""
    sheet = Sheet(height=HEIGHT)
    sheet.frame(30, 30, 535, 740, 2)
    sheet.text(297, 110, "The Ladle", 40, bold=True, align="center")
    sheet.text(297, 140, "Soups of the week", 18, align="center", ink=GREY)
    dishes = (
        ("Leek and potato", "with chive oil", "5.80"),
        ("Roasted pumpkin", "ginger, coconut, lime", "6.20"),
        ("Fish chowder", "smoked haddock, dill", "7.90"),
        ("Red lentil", "cumin, lemon, yoghurt", "5.50"),
        ("Goulash soup", "beef, paprika, sourdough", "7.40"),
    )
    for index, (name, detail, price) in enumerate(dishes):
        y = 230 + 88 * index
        sheet.text(90, y, name, 18, bold=True)
        sheet.text(505, y, price, 18, align="right")
        sheet.text(90, y + 24, detail, 13, ink=GREY)
    sheet.text(297, 730, "Served from 11.30 until the pot is empty", 13, align="center")
    return sheet


def rainfall_chart() -> Sheet:
    """A bar chart with axes."""
    sheet = Sheet(600, 420)
    sheet.text(60, 40, "Rainfall at the weather station, 2026", 16, bold=True)
    sheet.text(60, 60, "millimetres a month", 11, ink=GREY)
    values = (112, 84, 91, 46, 38, 22, 17, 31, 64, 97)
    for step in range(0, 121, 40):
        y = 360 - step * 2
        sheet.rule(60, y, 500, 0.5, GREY)
        sheet.text(52, y + 4, str(step), 10, align="right")
    for index, value in enumerate(values):
        sheet.area(75 + 49 * index, 360 - 2 * value, 30, 2 * value, NAVY)
        sheet.text(90 + 49 * index, 378, "JFMAMJJASO"[index], 11, align="center")
    return sheet


def threatening_note() -> Sheet:
    """A note that a moderator should see: a threat against a person."""
    sheet = Sheet(420, 300)
    lines = (
        "MAREK, WE KNOW WHERE YOU PARK.",
        "STOP TALKING TO THE INSPECTOR",
        "OR YOU WILL GET HURT.",
        "LAST WARNING.",
    )
    for index, text in enumerate(lines):
        sheet.text(26 + 6 * (index % 2), 76 + 54 * index, text, 21, bold=True, ink=RED)
    return sheet
