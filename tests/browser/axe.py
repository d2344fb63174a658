"""What axe-core finds on a page; the package brings its script along, so no network is needed."""

import pytest


def serious_findings(page) -> list[str]:
    """Findings of impact serious or critical: the rule and the elements that break it."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    found = axe.Axe().run(page).response["violations"]
    grave = [rule for rule in found if rule["impact"] in ("serious", "critical")]
    return [f"{rule['id']}: {', '.join(str(node['target']) for node in rule['nodes'])}" for rule in grave]
