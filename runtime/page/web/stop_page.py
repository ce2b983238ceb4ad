"""A page of one button, for those who have no code, no time to load the robot, or no place left among the browsers."""

from __future__ import annotations

from html import escape

PATH = "/stop"
PRESS_PATH = "/stop/press"
PRESS_HEADER = ("X-Shoal", "stop")
"""Other web sites cannot send it: browsers would ask first, and are not answered."""

_CODE_FORM = """
<form method="get" action="/"><label>Code <input name="code" autocomplete="off" autofocus></label>
<button>Open the page</button></form>
"""
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Emergency stop</title>
<style>
body {{ font: 1.1rem system-ui, sans-serif; margin: 2rem auto; max-width: 26rem; padding: 0 1rem; color: #1e293b }}
#stop {{ width: 100%; padding: 2.5rem 0; font: 700 1.6rem system-ui, sans-serif; color: white; background: #c81020;
         border: 0; border-radius: 1rem; cursor: pointer }}
form {{ margin-top: 2rem; padding-top: 1.5rem; border-top: 1px solid #cbd5e1 }}
input, form button {{ font: inherit; padding: 0.3rem 0.6rem }}
</style></head><body>
<button id="stop">EMERGENCY STOP</button>
<p id="answer" role="status">{sentence}</p>
{form}
<script>
const answer = document.getElementById("answer");
document.getElementById("stop").onclick = async () => {{
  answer.textContent = "Sent ...";
  try {{
    const reply = await fetch("{press}", {{headers: {{"{header}": "{value}"}}, cache: "no-store"}});
    answer.textContent = await reply.text();
  }} catch (error) {{
    answer.textContent = "NOT STOPPED: the robot's computer does not answer. Use another stop.";
  }}
}};
</script></body></html>
"""


def stop_page(sentence: str = "", *, asks_code: bool = False) -> str:
    """HTML of less than 2 kB, with a field for the code if wanted."""
    header, value = PRESS_HEADER
    form = _CODE_FORM if asks_code else ""
    return _PAGE.format(sentence=escape(sentence), form=form, press=PRESS_PATH, header=header, value=value)
