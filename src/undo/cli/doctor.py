"""`undo doctor`: is everything here that a study needs?"""


def doctor() -> int:
    """Check the installation: Python, packages, device, cores."""
    import json

    from undo.cli.errors import DONE, FAILED
    from undo.study.environment import describe_environment
    from undo.study.worker import device_name

    try:
        environment = describe_environment(device_name())
    except ImportError as error:
        print(f"problem: {error}; install again: pip install -c constraints.txt undo-llm")
        return FAILED
    print(json.dumps(environment, indent=1))
    missing = [name for name, found in environment["packages"].items() if found is None and name != "undo-llm"]
    if missing:
        print(f"problem: missing {', '.join(missing)}; install again: pip install -c constraints.txt undo-llm")
        return FAILED
    print("all is here; try: undo run smoke")
    return DONE
