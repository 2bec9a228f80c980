"""The conformance kit for authors of plugins: one suite a kind, to be subclassed in their own tests.

It needs `pip install 'bitbacker[test]'`.
"""

from __future__ import annotations

import pkgutil

import pytest

# pytest explains a failed assertion of a test module, and of other modules only when it is asked to.
pytest.register_assert_rewrite(*(f"{__name__}.{module.name}" for module in pkgutil.iter_modules(__path__)))
