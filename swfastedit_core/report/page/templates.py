"""Pages from jinja2 templates."""

from __future__ import annotations

from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

BASE = "swfastedit_core.report.page"  # holds base.html.jinja, base.css and tables.js
FOLDER = "html"


def render(package: str, template: str, **values: Any) -> str:
    """Render a page: all values are escaped, and a value that is missing is an error.

    Templates may extend ``base.html.jinja``, write values as JSON into a ``<script type="application/json">`` with the
    filter ``tojson`` (safe there; NaN and infinity are refused: pass None), and inline a style or a script of the
    folder with ``{{ source("name.css") }}``.

    Parameters
    ----------
    package
        Full name of the package whose folder ``html`` holds the template.
    template
        Name of the template.
    **values
        What the template shows. Markup of the program's own is passed as ``markupsafe.Markup``.

    Returns
    -------
    str
        The page.
    """
    packages = dict.fromkeys((package, BASE))
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(name, FOLDER) for name in packages]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}

    def source(name: str) -> Markup:
        """Return a style or script of the program as it is."""
        assert environment.loader is not None
        return Markup(environment.loader.get_source(environment, name)[0])

    environment.globals["source"] = source
    return environment.get_template(template).render(**values)
